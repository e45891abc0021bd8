# The image of every Airflow service and of the MLflow server: Airflow's own image, our lock, our code.
ARG AIRFLOW_IMAGE=apache/airflow:3.3.2-python3.12@sha256:9df9c8be4096b9cc626bd7cb1f2b8c712eef66c59c615f8c7e6200871ca10bd1
FROM ${AIRFLOW_IMAGE}

USER root
# libgomp1: LightGBM and scikit-learn load it. The folders: a new named volume takes their owner and mode over.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && apt-get autoremove -yqq --purge \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o airflow -g 0 -m 0775 /var/lib/flightline /var/lib/flightline/landing \
      /var/lib/flightline/lakehouse /var/lib/flightline/mlflow \
 && install -d -o airflow -g 0 -m 0700 /var/lib/flightline/auth

USER airflow
COPY requirements.txt /requirements.txt
# All of it is in the lock, with its hash; nothing else is looked for: what has to be built is built by the lock's setuptools.
RUN awk '/^[^ ]/ {wanted = /^setuptools==/} wanted' /requirements.txt > /tmp/tools.txt \
 && pip install --no-cache-dir --require-hashes --no-deps --no-build-isolation -r /tmp/tools.txt \
 && pip install --no-cache-dir --require-hashes --no-deps --no-build-isolation -r /requirements.txt \
 && rm /tmp/tools.txt

COPY --chown=airflow:0 feast_delta /opt/airflow/feast_delta
COPY --chown=airflow:0 include /opt/airflow/include
COPY --chown=airflow:0 feature_repo /opt/airflow/feature_repo
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 dags /opt/airflow/dags

ENV PYTHONPATH=/opt/airflow \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/airflow/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/airflow/plugins \
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=/opt/airflow/logs
