#!/bin/sh
# deploy.sh OVERLAY: apply k8s/overlays/OVERLAY to a cluster, in an order that loses nothing.
# First the Job that updates schemas, partitions and topics, with what it needs; everything else only after it succeeds.
# Meanwhile the old processes work on the new schema (docs/howto/upgrade.md). If the Job fails, they go on as before.
set -eu
overlay=$(dirname "$0")/../k8s/overlays/${1:?"which overlay: staging or production"}
built=$(mktemp)
trap 'rm -f "$built"' EXIT
kubectl kustomize "$overlay" >"$built"
namespace=$(sed -n 's/^  namespace: //p' "$built" | sort -u)

# Secrets are not in the overlay. No process starts without them.
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
