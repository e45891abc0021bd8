#!/bin/sh
# For each of Airflow, MLflow and Feast a database, and a role that owns it and enters no other; none is a superuser.
# The superuser has no password from then on: over the network nobody is. Runs once, on an empty volume.
set -eu
secrets=${SECRETS_FOLDER:-/run/secrets}
run() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres "$@"; }
for name in airflow mlflow feast; do
  password=$(sed -n 's/^password=//p' "$secrets/${name}_db")
  { printf '\\set password %s\n' "$password"; cat; } <<'SQL' | run --set name="$name"
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
run --command 'REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC; ALTER ROLE postgres PASSWORD NULL'
