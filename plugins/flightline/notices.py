"""Telling people what happened to a model, through Airflow's notifiers and connections.

What is told is a sentence of ours: of deliveries there is nothing in it but what the note of the run says, too. It is
never a template, since others may have written parts of it. Who is told has no say in what happens: a place that does
not answer is named in the log, and nobody waits for it longer than `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import html
import logging
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow.configuration import conf
from airflow.sdk import BaseHook, timezone
from airflow.sdk.bases.notifier import BaseNotifier

from include.core import catalogue
from include.core.notification import Occasion
from include.core.text import shown
from include.orchestration.runs import NOTE, run_of

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

    from include.core.notification import Notification

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""For all places together. Airflow's e-mail hook alone would wait for three minutes."""
LONGEST = 2000
"""Characters of what is told."""


@dataclass(frozen=True)
class Message:
    """What is told, of one run."""

    occasion: str
    model: str
    text: str
    link: str
    """To the page of Airflow; empty where its address is not configured."""

    @property
    def title(self) -> str:
        return f"{self.model}: {self.occasion.replace('_', ' ')}"


class WebhookNotifier(BaseNotifier):
    """Posts a message as JSON, to the address that a connection has.

    Args:
        connection: its id. Host (with or without ``https://``), port and schema are the address. With ``slack`` the
            password is the end of the address, as Slack's connections have it; else it is sent as a bearer token, or
            with a login as basic authentication. The extra's ``headers`` are sent, too.
        slack: whether the body is what Slack takes: one text.
    """

    def __init__(self, message: Message, connection: str, *, slack: bool = False) -> None:
        super().__init__()
        self.message, self.connection, self.slack = message, connection, slack

    def notify(self, context: Context) -> None:
        import httpx

        found = BaseHook.get_connection(self.connection)
        headers = dict(found.extra_dejson.get("headers") or {})
        if found.password and not found.login and not self.slack:
            headers["Authorization"] = f"Bearer {found.password}"
        basic = (found.login, found.password or "") if found.login and not self.slack else None
        answer = httpx.post(
            address(found, secret_path=self.slack),
            json=self._body(),
            headers=headers,
            auth=basic,
            timeout=PATIENCE_SECONDS / 2,
        )
        if answer.status_code >= 300:
            raise RuntimeError(f"it answers {answer.status_code}")  # of the error of httpx the address is a part

    def _body(self) -> dict[str, str]:
        told = self.message
        if not self.slack:
            return {
                "occasion": told.occasion,
                "model": told.model,
                "title": told.title,
                "text": told.text,
                "link": told.link,
            }
        link = f"\n<{told.link}|Open in Airflow>" if told.link else ""
        return {"text": f"*{_for_slack(told.title)}*\n{_for_slack(told.text)}{link}"}


def address(connection: Connection, *, secret_path: bool) -> str:
    """The URL of a connection.

    Raises:
        ValueError: it has no host.
    """
    host = (connection.host or "").rstrip("/")
    if "://" not in host:
        known = {connection.schema, connection.conn_type} & {"http", "https"}
        host = f"{'http' if known == {'http'} else 'https'}://{host}"
    parts = urlsplit(host)
    if not parts.hostname:
        raise ValueError("the connection has no host")
    if connection.port and not parts.port:
        host = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    return f"{host}/{connection.password.lstrip('/')}" if secret_path and connection.password else host


class Notice(BaseNotifier):
    """Tells the places that model.yaml names for an occasion.

    Args:
        text: what is told; by default what the task has noted of the run.
        page: of the run in Airflow, to which the message links.
    """

    def __init__(self, occasion: Occasion, text: str = "", *, page: str = "plugin/report") -> None:
        super().__init__()
        self.occasion, self.text, self.page = occasion, text, page

    def notify(self, context: Context) -> None:
        try:
            self.tell(context)
        except Exception as error:  # noqa: BLE001  (nothing that is told decides anything)
            log.warning("Nobody could be told that this is %s: %s", self.occasion, type(error).__name__)

    def tell(self, context: Context) -> list[str]:
        """Tell all places of the occasion at once; the connections of those that took it in time."""
        ti, run = context["ti"], context["dag_run"]
        model = context["dag"].dag_id.partition(".")[0]
        places = [place for place in catalogue.load(model).notify if self.occasion in place.occasions]
        if not places:
            return []
        noted, done = self.text or ti.xcom_pull(task_ids=ti.task_id, key=NOTE), ti.xcom_pull(task_ids=ti.task_id)
        if not noted or (isinstance(done, dict) and done.get("changed") is False):
            return []  # nothing has happened
        about = f"version {run.partition_key}" if str(run.partition_key).isdigit() else run.partition_key
        text = noted if self.text or not about or noted.startswith(about) else f"{about}: {noted}"
        message = Message(self.occasion.value, model, text[:LONGEST], page_of(context, self.page))
        took: list[str] = []
        tries = [Thread(target=self._try, args=(place, message, took), daemon=True) for place in places]
        ends = timezone.utcnow().timestamp() + PATIENCE_SECONDS
        for one in tries:
            one.start()
        for one in tries:
            one.join(max(ends - timezone.utcnow().timestamp(), 0))
        told = list(took)
        for place in places:
            if place.connection not in told:
                log.warning("%s (%s) was not told in time", place.connection, place.kind)
        return told

    def _try(self, place: Notification, message: Message, took: list[str]) -> None:
        try:
            notifier_of(place, message).notify({})  # not called: it would take the message for a template
            took.append(place.connection)
        except Exception as error:  # noqa: BLE001  (as above)
            said = shown(error) if type(error) in (RuntimeError, ValueError) else type(error).__name__
            log.warning("%s (%s) could not be told: %s", place.connection, place.kind, said)


class IncidentNotice(Notice):
    """Tells that an incident has begun with the window that was decided on, or is over; each once."""

    def __init__(self) -> None:
        super().__init__(Occasion.INCIDENT)

    def tell(self, context: Context) -> list[str]:
        places = catalogue.load(context["dag"].dag_id.partition(".")[0]).notify
        if not any(Occasion.INCIDENT in place.occasions for place in places):
            return []
        from include.lakehouse.decisions import Outcome
        from include.monitoring import incident

        run = run_of(context)
        outcome = incident.find(run)
        if outcome is None:
            return []
        self.occasion = Occasion.INCIDENT if outcome is Outcome.INCIDENT_TOLD else Occasion.RECOVERED
        if took := super().tell(context):
            incident.record(run, outcome, took)
        return took


def notifier_of(place: Notification, message: Message) -> BaseNotifier:
    """The notifier of Airflow that tells a place."""
    if place.kind != "email":
        return WebhookNotifier(message, place.connection, slack=place.kind == "slack")
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    text = f"<p>{html.escape(message.text)}</p>"
    link = f'<p><a href="{html.escape(message.link)}">Open in Airflow</a></p>' if message.link else ""
    title = f"[Flightline] {message.title}"
    return SmtpNotifier(to=list(place.to), subject=title, html_content=text + link, smtp_conn_id=place.connection)


def page_of(context: Context, page: str) -> str:
    """The address of a page of the context's run in Airflow; empty where that is not configured."""
    base, run = conf.get("api", "base_url", fallback=""), context["dag_run"]
    path = f"dags/{quote(run.dag_id, safe='')}/runs/{quote(run.run_id, safe='')}/{page}"
    return f"{base.rstrip('/')}/{path}" if base else ""


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
