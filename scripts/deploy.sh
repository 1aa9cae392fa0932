#!/bin/sh
# deploy.sh OVERLAY: bring a cluster to what k8s/overlays/OVERLAY says, in the order in which nothing is lost.
# First the Job that brings schemas, partitions and topics up to date, and what it needs; only when it has ended well, all
# else. The old processes work on the new schema meanwhile (docs/howto/upgrade.md). If it fails, they go on as before.
set -eu
overlay=$(dirname "$0")/../k8s/overlays/${1:?"which overlay: staging or production"}
built=$(mktemp)
trap 'rm -f "$built"' EXIT
kubectl kustomize "$overlay" >"$built"
namespace=$(sed -n 's/^  namespace: //p' "$built" | sort -u)

# Secrets are not in the overlay: without them no process would start.
kubectl get namespace "$namespace" >/dev/null
kubectl --namespace "$namespace" get secret smsgateway >/dev/null

kubectl --namespace "$namespace" delete job prepare --ignore-not-found --wait
kubectl apply --filename "$built" --selector app.kubernetes.io/stage=before
stores=$(kubectl --namespace "$namespace" get statefulset --selector app.kubernetes.io/stage=before --output name)
for store in $stores; do
    kubectl --namespace "$namespace" rollout status "$store" --timeout 15m
done
kubectl apply --filename "$built" --selector app.kubernetes.io/component=prepare
kubectl --namespace "$namespace" wait --for condition=complete job/prepare --timeout 30m ||
    { kubectl --namespace "$namespace" logs job/prepare --tail 50; exit 1; }

kubectl apply --filename "$built" --selector app.kubernetes.io/component!=prepare
for process in $(kubectl --namespace "$namespace" get deployment,statefulset --output name); do
    kubectl --namespace "$namespace" rollout status "$process" --timeout 15m
done
