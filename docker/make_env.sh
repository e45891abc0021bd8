#!/bin/sh
# Writes .env from .env.example, and each secret with a random value into a file of its own below secrets/.
# Replaces neither.
set -eu
cd "$(dirname "$0")/.."
for made in .env secrets; do
  [ ! -e "$made" ] || { echo "flightline: $made is there already; delete .env and secrets first to make new secrets" >&2; exit 1; }
done

random() { od -An -v -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
secret() { printf %s "$2" >"secrets/$1"; }
database() { secret "$1_db" "$(printf '[%s]\nhost=postgres\ndbname=%s\nuser=%s\npassword=%s' "$1" "$1" "$1" "$(random 16)")"; }

# The folder is what keeps others out: its files are read by the containers' own accounts, whom a mount changes nothing for.
mkdir -m 0700 secrets
umask 022
database airflow
database mlflow
database feast
secret redis_password "$(random 16)"
secret airflow_admin_password "$(random 8)"
secret airflow_fernet_key "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"
secret airflow_api_secret_key "$(random 32)"
secret airflow_jwt_secret "$(random 64)"
secret mlflow_credentials "$(printf '[mlflow]\nmlflow_tracking_username = flightline\nmlflow_tracking_password = %s' "$(random 16)")"
secret webhook_key "$(random 32)"
secret webhook_encryption_key "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"
sed 's|^SECRETS_FOLDER=$|&./secrets|' .env.example >.env
echo "Wrote .env and secrets/"
