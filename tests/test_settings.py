"""capturebot.yml: what a right one becomes, and what is said of each wrong one."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import ConfigError
from bot.model import (
    AppRoleAuth,
    AwsSecrets,
    KubernetesAuth,
    Mount,
    MySql,
    SecretRef,
    Ssh,
    Target,
    Tls,
    TokenAuth,
    Vault,
)
from bot.retention import Audit, Lock
from bot.settings import S3, Limits, PagerDuty, Settings, Slack, load
from tests.wrong import Wrong, table

RIGHT, WRONG = table("wrong_settings.txt")


def load_text(text: str | bytes, folder: Path) -> Settings:
    """Load *text* as a file in *folder*."""
    path = folder / "capturebot.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path)


def problems_of(text: str | bytes, folder: Path) -> list[str]:
    """What is said of *text*, without the folder's name."""
    with pytest.raises(ConfigError) as caught:
        load_text(text, folder)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_file_says_where_and_how_to_mend_it(wrong: Wrong, tmp_path: Path) -> None:
    """File, line, key, message and cure, exactly as an operator reads them."""
    said = problems_of(wrong.text, tmp_path)

    assert said == wrong.says


@pytest.mark.parametrize("wrong", [wrong for wrong in WRONG if "hunter" in wrong.text], ids=str)
def test_a_secret_in_plain_text_is_never_repeated(wrong: Wrong, tmp_path: Path) -> None:
    """Not even a part of it."""
    said = problems_of(wrong.text, tmp_path)

    assert "hunter" not in " ".join(said)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """One run of the check is enough to mend a file."""
    said = problems_of("targets:\n  A: {local: yes}\n  b: {}\nweb: 1\nslack: {bot_token: x}\n", tmp_path)

    assert [line.split(": ")[1] for line in said] == [
        "targets.A",
        "targets.A.local",
        "targets.b",
        "slack.bot_token",
        "slack.app_token",
        "web",
    ]


def test_a_target_may_be_called_like_a_key(tmp_path: Path) -> None:
    """A cure is about what stands there, not about a key of the same name."""
    said = problems_of("folder: x\ntargets: {local: 5, ssh: {host: a, prot: 1, user: b}}\n", tmp_path)

    assert said == [
        "capturebot.yml:2: targets.local: must be `key: value` lines, not `5` — its keys are `about`, `mysql`, `ssh`, `windows`, `local`, `labels`, `become` and `paths`",
        "capturebot.yml:2: targets.ssh.host: is not a known key — keys here are `about`, `mysql`, `ssh`, `windows`, `local`, `labels`, `become` and `paths`",
        "capturebot.yml:2: targets.ssh.prot: is not a known key — keys here are `about`, `mysql`, `ssh`, `windows`, `local`, `labels`, `become` and `paths`",
        "capturebot.yml:2: targets.ssh.user: is not a known key — keys here are `about`, `mysql`, `ssh`, `windows`, `local`, `labels`, `become` and `paths`",
    ]


def test_a_right_file_becomes_settings(tmp_path: Path) -> None:
    """Every section, with the defaults that the dataclasses state."""
    found = load_text(RIGHT, tmp_path)

    known_hosts = Path("~/.ssh/known_hosts").expanduser()
    bastion = Ssh(host="bastion.example", user="capture", known_hosts=known_hosts)
    orders = Target(
        name="orders-db",
        about="Orders, primary",
        mysql=MySql(host="10.0.0.5", user="capture", password=SecretRef("env:ORDERS_DB"), via=bastion),
        ssh=Ssh(host="10.0.0.5", user="capture", known_hosts=known_hosts, key=SecretRef("file:/etc/key")),
    )
    assert found == Settings(
        targets={
            "orders-db": orders,
            "bastion": Target(name="bastion", ssh=bastion),
            "here": Target(name="here", local=True),
        },
        journal=f"sqlite:///{tmp_path}/capturebot.db",
        slack=Slack(bot_token=SecretRef("env:SLACK_BOT_TOKEN"), app_token=SecretRef("env:SLACK_APP_TOKEN")),
        pagerduty=PagerDuty(token=SecretRef("env:PAGERDUTY_TOKEN"), sender="oncall@example.com"),
        s3=S3(bucket="incident-evidence", region="eu-west-1"),
    )


EVERYTHING = """\
journal: sqlite:///data/journal.db
recipes: [./captures, /srv/captures]
folder: artifacts
web: "[::1]:8080"
limits: {captures_at_once: 3, capture_bytes: 5 GB, drain_s: 0}
slack: {bot_token: env:A, app_token: file:app.token, api_url: http://127.0.0.1:9/api, connections: 1, announcements: [C0AB]}
pagerduty: {token: env:P, from: a@b.example, api_url: "https://api.eu.pagerduty.com/", user_token: env:U}
services: {orders: {targets: [db]}}
targets:
  db:
    mysql: {host: "::1", port: 3307, user: capture, database: orders, tls: off}
    ssh: {host: db_1.example, port: 2222, user: capture, password: env:B, known_hosts: keys/known_hosts}
  tls: {mysql: {host: db, user: capture, ca: ca.pem}}
"""


def test_what_is_written_is_kept(tmp_path: Path) -> None:
    """Relative paths start from the file's own folder, sizes become bytes, base URLs get the end their clients need."""
    found = load_text(EVERYTHING, tmp_path)

    mysql, ssh = found.targets["db"].mysql, found.targets["db"].ssh
    assert mysql
    assert ssh
    assert found.slack
    assert found.pagerduty
    assert found.journal == f"sqlite:///{tmp_path}/data/journal.db"
    assert found.recipes == (tmp_path / "captures", Path("/srv/captures"))
    assert found.folder == tmp_path / "artifacts"
    assert found.web == "[::1]:8080"
    assert found.limits == Limits(captures_at_once=3, capture_bytes=5_000_000_000, drain_s=0)
    assert found.slack.app_token == SecretRef("file:app.token")
    assert found.slack.api_url == "http://127.0.0.1:9/api/"
    assert found.slack.announcements == ("C0AB",)
    assert found.pagerduty.user_token == SecretRef("env:U")
    assert found.pagerduty.api_url == "https://api.eu.pagerduty.com"
    assert (mysql.host, mysql.port, mysql.tls) == ("::1", 3307, Tls.OFF)
    assert (ssh.port, ssh.known_hosts) == (2222, tmp_path / "keys/known_hosts")
    assert found.targets["tls"].mysql == MySql(host="db", user="capture", ca=tmp_path / "ca.pem")


S3_EVERYTHING = """\
targets: {here: {local: true}}
limits:
recipes:
s3:
  bucket: b.cd
  prefix: ""
  endpoint_url: http://localhost:9000
  access_key: env:A
  secret_key: env:B
  encryption: none
  path_style: true
  browse_url: https://files.example/{bucket}/{key}
"""


PIN = "SHA256:X48S6Q8bfi1qRrEbFm1xGTBIhXpKOGzVVrI09DlrOSw"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsABgH5C9okWi0dh2l9GKJl"
TRUST = f"""\
folder: x
vault:
  address: https://vault.example:8200/
  namespace: team-a/
  auth: {{approle: {{role_id: env:ROLE, secret_id: systemd:secret-id}}}}
  ca: vault.pem
  mounts: {{secret: kv2}}
awssm: {{region: eu-west-1}}
targets:
  outer: {{ssh: {{host: a, user: u, agent: true, host_key: {PIN}}}}}
  inner: {{ssh: {{host: b, user: u, key: file:k, passphrase: "awssm://keys#inner", certificate: k-cert.pub, via: outer}}}}
  last: {{ssh: {{host: c, user: u, agent: /run/agent, host_key: ["{PIN}", "{HOST_KEY} a comment"], via: inner}}}}
  db:
    mysql:
      host: d
      user: ref+vault://database/creds/capture#/username
      password: vault://database/creds/capture#password
      via: last
"""


def test_stores_of_secrets_and_ways_through_hosts_are_kept(tmp_path: Path) -> None:
    """Each host with the whole way to it; a database is reached with TLS where nothing else is said."""
    found = load_text(TRUST, tmp_path)

    known_hosts = Path("~/.ssh/known_hosts").expanduser()
    outer = Ssh(host="a", user="u", known_hosts=known_hosts, agent=True, host_keys=(PIN,))
    inner = Ssh(
        host="b",
        user="u",
        known_hosts=known_hosts,
        key=SecretRef("file:k"),
        passphrase=SecretRef("awssm://keys#inner"),
        certificate=tmp_path / "k-cert.pub",
        via=outer,
    )
    last = Ssh(
        host="c", user="u", known_hosts=known_hosts, agent=Path("/run/agent"), host_keys=(PIN, HOST_KEY), via=inner
    )
    assert [found.targets[name].ssh for name in ("outer", "inner", "last")] == [outer, inner, last]
    assert found.targets["db"].mysql == MySql(
        host="d",
        user="vault://database/creds/capture#username",
        account=SecretRef("vault://database/creds/capture#username"),
        password=SecretRef("vault://database/creds/capture#password"),
        tls=Tls.VERIFY,
        via=last,
    )
    assert found.vault == Vault(
        address="https://vault.example:8200",
        auth=AppRoleAuth(role_id=SecretRef("env:ROLE"), secret_id=SecretRef("systemd:secret-id")),
        namespace="team-a",
        ca=tmp_path / "vault.pem",
        mounts={"secret": Mount.KV2},
    )
    assert found.awssm == AwsSecrets(region="eu-west-1")


def test_each_way_into_vault_is_kept(tmp_path: Path) -> None:
    """A pod's token lies where Kubernetes puts it."""
    text = "folder: x\ntargets: {{here: {{local: true}}}}\nvault: {{address: http://127.0.0.1:8200, auth: {}}}\n"

    token = load_text(text.format("{token: file:/run/vault/token}"), tmp_path).vault
    pod = load_text(text.format("{kubernetes: {role: capturebot}}"), tmp_path).vault

    assert token
    assert pod
    assert token.auth == TokenAuth(token=SecretRef("file:/run/vault/token"))
    jwt = SecretRef("file:/var/run/secrets/kubernetes.io/serviceaccount/token")
    assert pod.auth == KubernetesAuth(role="capturebot", jwt=jwt)


def test_a_section_that_is_commented_out_keeps_its_defaults(tmp_path: Path) -> None:
    """`limits:` with nothing below it is as good as none; `encryption: none` leaves the choice to the bucket."""
    found = load_text(S3_EVERYTHING, tmp_path)

    assert found.limits == Limits()
    assert found.recipes == ()
    assert found.s3 == S3(
        bucket="b.cd",
        prefix="",
        endpoint_url="http://localhost:9000",
        access_key=SecretRef("env:A"),
        secret_key=SecretRef("env:B"),
        encryption=None,
        path_style=True,
        browse_url="https://files.example/{bucket}/{key}",
    )


KEPT = """\
targets:
  shop: {local: true, labels: {pci: "yes", env: prod}}
  till: {ssh: {host: till, user: capture}, labels: {pci: "yes", till: "1"}}
  wiki: {ssh: {host: wiki, user: capture}}
s3:
  bucket: evidence
  retention: {text: 90 days, binary: 14 d, manifest: 400 days}
  keys:
    - {labels: {till: "?"}, kms_key: alias/tills}
    - {labels: {pci: "yes"}, kms_key: alias/pci}
audit: {bucket: evidence-audit, every: 15 min, lock: {mode: compliance, days: 365}}
"""


def test_how_long_and_under_which_key_objects_are_kept(tmp_path: Path) -> None:
    """Keys are found by the labels of targets, the first that fits; the journal's copy has a bucket of its own."""
    found = load_text(KEPT, tmp_path)

    assert found.s3
    assert found.s3.retention == {"text": 90, "binary": 14, "manifest": 400}
    assert found.s3.keys == {"till": "alias/tills", "shop": "alias/pci"}
    lock = Lock(mode="compliance", days=365)
    assert found.audit == Audit(bucket="evidence-audit", prefix="capturebot-audit", every_s=900.0, lock=lock)


def test_a_journal_elsewhere_is_left_as_it_is(tmp_path: Path) -> None:
    """Only paths of SQLite are made absolute."""
    url = "postgresql+psycopg://capturebot@db.example/journal"

    found = load_text(f"journal: {url}\nfolder: x\ntargets: {{here: {{local: true}}}}\n", tmp_path)

    assert found.journal == url


def test_a_home_that_does_not_exist_is_no_error(tmp_path: Path) -> None:
    """A bot in a container has no home; the path is then taken as it is written."""
    found = load_text("folder: ~nobody-of-that-name/x\ntargets: {here: {local: true}}\n", tmp_path)

    assert found.folder == tmp_path / "~nobody-of-that-name/x"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["targets", "journal", "recipes", "slack", "pagerduty", "s3", "folder", "web", "limits", "vault", "awssm"]


@pytest.mark.thorough
@settings(max_examples=40)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, VALUES)))
def test_nothing_but_a_configuration_error_is_raised(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, object]
) -> None:
    """Whatever stands under the keys."""
    with suppress(ConfigError):
        load_text(json.dumps(value), tmp_path_factory.getbasetemp())
