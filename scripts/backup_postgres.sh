#!/bin/sh
# backup_postgres.sh FOLDER: a base backup of PostgreSQL in FOLDER/base/TIME, verified; removes what is older than needed.
# PGHOST, PGUSER and the like name the server; its user needs the right REPLICATION. The WAL is archived by PostgreSQL
# itself (archive_command) to FOLDER/wal: see docs/howto/backup-and-recovery.md.
# BACKUPS_KEPT (2): so many base backups are kept, and the WAL since the oldest of them.
# METRICS_TEXTFILE_DIR: a folder for node_exporter; the alert JobFailed watches the time of the last success.
set -eu
folder=${1:?"which folder?"}
kept=${BACKUPS_KEPT:-2}
started=$(date +%s)
name=$(date -u +%Y%m%dT%H%M%SZ)
mkdir -p "$folder/base"

report() { # SUCCEEDED
    [ -n "${METRICS_TEXTFILE_DIR:-}" ] || return 0
    now=$(date +%s)
    cat >"$METRICS_TEXTFILE_DIR/smsgateway_backup.prom.new" <<END
job_last_run_timestamp_seconds{job="backup"} $now
job_last_run_succeeded{job="backup"} $1
job_last_run_duration_seconds{job="backup"} $((now - started))
END
    mv "$METRICS_TEXTFILE_DIR/smsgateway_backup.prom.new" "$METRICS_TEXTFILE_DIR/smsgateway_backup.prom"
    [ "$1" = 0 ] || echo "job_last_success_timestamp_seconds{job=\"backup\"} $now" \
        >"$METRICS_TEXTFILE_DIR/smsgateway_backup_success.prom"
}
trap 'report 0' EXIT

# Into a folder of another name: a backup that exists is whole.
rm -rf "$folder"/base/*.part
pg_basebackup --pgdata "$folder/base/$name.part" --checkpoint fast --wal-method stream --no-password \
    --manifest-checksums SHA256
pg_verifybackup --quiet "$folder/base/$name.part"
mv "$folder/base/$name.part" "$folder/base/$name"

# Older backups, then the WAL that only they need.
ls -1 "$folder/base" | sort -r | tail -n +"$((kept + 1))" | while read -r old; do
    rm -rf "$folder/base/${old:?}"
done
oldest=$(ls -1 "$folder/base" | sort | head -n 1)
if [ -d "$folder/wal" ]; then
    first=$(sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/\1/p' "$folder/base/$oldest/backup_label")
    pg_archivecleanup "$folder/wal" "$first"
fi
trap - EXIT
report 1
echo "backup $folder/base/$name is whole; $(ls -1 "$folder/base" | wc -l) kept"
