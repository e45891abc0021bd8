-- Beside airflow, which POSTGRES_DB makes. Runs once, on an empty volume.
CREATE DATABASE mlflow;
CREATE DATABASE feast;
