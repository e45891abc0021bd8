#!/bin/sh
# Writes .env from .env.example, with a random value for each secret. Leaves an existing .env alone.
set -eu
cd "$(dirname "$0")/.."
[ ! -e .env ] || { echo "flightline: .env is there already; delete it first to make new secrets" >&2; exit 1; }

random() { od -An -v -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

umask 077
sed -e "s|^POSTGRES_PASSWORD=\$|&$(random 16)|" \
    -e "s|^AIRFLOW_DB_PASSWORD=\$|&$(random 16)|" \
    -e "s|^MLFLOW_DB_PASSWORD=\$|&$(random 16)|" \
    -e "s|^FEAST_DB_PASSWORD=\$|&$(random 16)|" \
    -e "s|^REDIS_PASSWORD=\$|&$(random 16)|" \
    -e "s|^AIRFLOW_ADMIN_PASSWORD=\$|&$(random 8)|" \
    -e "s|^MLFLOW_PASSWORD=\$|&$(random 16)|" \
    -e "s|^MLFLOW_SECRET_KEY=\$|&$(random 32)|" \
    -e "s|^AIRFLOW_FERNET_KEY=\$|&$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')|" \
    -e "s|^AIRFLOW_API_SECRET_KEY=\$|&$(random 32)|" \
    -e "s|^AIRFLOW_JWT_SECRET=\$|&$(random 64)|" .env.example >.env
echo "Wrote .env"
