"""Made-up secrets in the places where they turn up, each drawn anew from a seed."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

EACH = 5  # plantings of a format

HEX = "0123456789abcdef"
ALNUM = string.ascii_letters + string.digits
WORD = ALNUM + "_-"
PASSWORD = ALNUM + "!#%*+-.:?^_~"


@dataclass(frozen=True)
class Planted:
    """*secret* between what must stay readable."""

    format: str
    before: bytes
    secret: bytes
    after: bytes

    @property
    def text(self) -> bytes:
        return self.before + self.secret + self.after


class Draw:
    """Random pieces."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def of(self, alphabet: str, length: int) -> str:
        return "".join(self.random.choice(alphabet) for _ in range(length))

    def mixed(self, alphabet: str, length: int) -> str:
        """With a letter at both ends and a digit inside, as nearly all real ones have."""
        return f"{self.of(string.ascii_letters, 1)}{self.of(alphabet, length - 3)}7{self.of(string.ascii_letters, 1)}"

    def password(self) -> str:
        return self.mixed(PASSWORD, self.random.randrange(8, 24))

    def one(self, *choices: str) -> str:
        return self.random.choice(choices)

    def card(self) -> str:
        digits = self.one("4", "51", "55", "2221", "6011", "37") + self.of(string.digits, 15)
        digits = digits[: 14 if digits.startswith("37") else 15]
        total = sum(int(d) if i % 2 else sum(divmod(2 * int(d), 10)) for i, d in enumerate(reversed(digits)))
        return digits + str(-total % 10)


def _in_a_sentence(secret: str) -> tuple[str, str, str]:
    return "2026-11-22T20:55:01Z WARN worker-3 got ", secret, " from upstream, retrying"


Maker = Callable[[Draw], tuple[str, str, str]]

TOKENS: dict[str, Callable[[Draw], str]] = {
    "aws access key id": lambda d: d.one("AKIA", "ASIA") + d.of(string.ascii_uppercase + "234567", 16),
    "github token": lambda d: d.one("ghp_", "gho_", "ghu_", "ghs_", "ghr_") + d.of(ALNUM, 36),
    "github fine-grained token": lambda d: "github_pat_" + d.of(ALNUM, 22) + "_" + d.of(ALNUM, 59),
    "gitlab token": lambda d: d.one("glpat-", "gldt-", "glrt-", "glcbt-") + d.of(WORD, 20),
    "slack token": lambda d: d.one("xoxb-", "xoxp-", "xoxa-") + "-".join((d.of("0123456789", 12), d.of("0123456789", 12), d.of(ALNUM, 24))),
    "slack app token": lambda d: f"xapp-1-A{d.of(string.ascii_uppercase, 10)}-{d.of('0123456789', 13)}-{d.of(HEX, 64)}",
    "stripe key": lambda d: d.one("sk_live_", "rk_live_", "sk_test_") + d.of(ALNUM, 24),
    "google api key": lambda d: "AIza" + d.of(WORD, 35),
    "google access token": lambda d: "ya29." + d.of(WORD, 68),
    "azure client secret": lambda d: d.of(ALNUM, 3) + "8Q~" + d.of(ALNUM + "_~.-", 33) + "x",
    "npm token": lambda d: "npm_" + d.of(ALNUM, 36),
    "pypi token": lambda d: "pypi-AgEIcHlwaS5vcmc" + d.of(WORD, 100),
    "twilio key": lambda d: "SK" + d.of(HEX, 32),
    "sendgrid key": lambda d: f"SG.{d.of(WORD, 22)}.{d.of(WORD, 43)}",
    "pagerduty key": lambda d: d.one("u+" + d.of(WORD, 17) + "x", "pdus+_0X" + d.of(string.ascii_uppercase, 8) + "_" + d.of(HEX, 36)),
    "openai key": lambda d: d.one("sk-", "sk-proj-") + d.mixed(ALNUM, 48),
    "anthropic key": lambda d: "sk-ant-api03-" + d.of(WORD, 93) + "AA",
    "vault token": lambda d: d.one("hvs.", "hvb.") + d.of(WORD, 90),
    "vault token, old": lambda d: "s." + d.mixed(ALNUM, 24),
    "jwt": lambda d: ".".join(
        base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode()
        for part in ('{"alg":"HS256","typ":"JWT"}', json.dumps({"sub": d.of(ALNUM, 8), "iat": 1}), d.of(ALNUM, 32))
    ),
    "aws session token": lambda d: "IQoJb3JpZ2luX2VjE" + d.of(ALNUM + "+/", 300),
    "mailgun key": lambda d: "key-" + d.of(HEX, 32),
    "token of a service": lambda d: d.one("gsk_", "xai-", "nvapi-", "ntn_", "lin_api_", "figd_", "sntrys_", "tskey-auth-", "pscale_tkn_", "dp.st.") + d.mixed(ALNUM, 40),
    "card number": lambda d: d.card(),
    "crypt hash": lambda d: f"$6${d.of(ALNUM, 8)}${d.of(ALNUM + './', 86)}",
    "mysql hash": lambda d: "*" + d.of(string.digits + "ABCDEF", 40),
}  # fmt: skip

PLACES: dict[str, Maker] = {
    "url": lambda d: (f"connecting to {d.one('postgres', 'amqp', 'https', 'redis')}://app:", d.password(), "@10.0.0.5:5432/orders?ssl=1 now"),
    "url with @ in the password": lambda d: ("git clone https://bob:", d.password() + "@" + d.password(), "@git.example.com/x.git"),
    "go dsn": lambda d: ("dsn=app:", d.mixed(ALNUM + "!#*+", 14), "@tcp(10.0.0.5:3306)/orders?parseTime=true"),
    "ado dsn": lambda d: ("Server=db;User Id=sa;Password=", d.password(), ";Encrypt=true"),
    "azure storage": lambda d: ("DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=", d.of(ALNUM + "+/", 86) + "==", ";EndpointSuffix=core.windows.net"),
    "azure sas": lambda d: ("https://acme.blob.core.windows.net/c/b?sv=2026&sp=r&sig=", d.of(ALNUM, 40) + "%3D", "&se=2027"),
    "environment": lambda d: (f"PATH=/bin\nDB_{d.one('PASSWORD', 'PASS', 'PWD')}=", f"{d.password()} {d.password()}", "\nHOME=/home/app"),
    "environ of a process": lambda d: ("HOME=/\0API_TOKEN=", f"{d.password()},;&{d.password()}", "\0LANG=C\0"),
    "ps e": lambda d: ("  812 ?  Ssl  0:01 /srv/app PGPASSWORD=", d.password(), " HOME=/ LANG=C"),
    "yaml": lambda d: (f"db:\n  user: app\n  {d.one('password', 'secret', 'api_key', 'passphrase')}: ", f"{d.password()} {d.password()}", "\n  port: 3306"),
    "json": lambda d: (f'{{"user":"app", "{d.one("password", "apiKey", "client_secret", "access_token")}" : "', d.password() + '\\"' + d.password(), '", "port": 1}'),
    "json in json": lambda d: ('{"msg":"{\\"user\\":\\"app\\",\\"password\\":\\"', d.password(), '\\",\\"port\\":1}"}'),
    "python dict": lambda d: ("DEBUG {'user': 'app', 'password': '", d.password(), "', 'port': 1}"),
    "ini": lambda d: ("[client]\nuser = app\npassword = ", d.password(), "\nhost = db"),
    "xml": lambda d: ("<user>app</user><password>", d.password(), "</password><port>1</port>"),
    "java property": lambda d: ("java -Djavax.net.ssl.keyStorePassword=", d.password(), " -jar app.jar"),
    "aws secret key": lambda d: (f"{d.one('aws_secret_access_key = ', 'AWS_SECRET_ACCESS_KEY=', 'SecretAccessKey: ')}", d.of(ALNUM + "+/", 39) + "x", "\nregion = eu-west-1"),
    "npmrc": lambda d: ("//registry.example.com/:_authToken=", d.mixed(ALNUM + "-", 30), "\nalways=1"),
    "docker config": lambda d: ('{"auths":{"r.example.com":{"auth":"', base64.b64encode(f"bob:{d.password()}".encode()).decode(), '"}}}'),
    "bearer": lambda d: (f"{d.one('Authorization: Bearer ', 'authorization: bearer ', chr(39) + 'Authorization' + chr(39) + ': ' + chr(39) + 'Bearer ')}", d.mixed(ALNUM + "._-", 40), "\nAccept: */*"),
    "basic": lambda d: ("curl -H 'Authorization: Basic ", base64.b64encode(f"bob:{d.password()}".encode()).decode(), "' https://x.example.com/"),
    "pagerduty header": lambda d: ("Authorization: Token ", "token=" + d.mixed(ALNUM + "+_-", 20), "\nAccept: json"),
    "signed header": lambda d: ("Authorization: AWS4-HMAC-SHA256 ", f"Credential=AKIA{d.of(string.ascii_uppercase, 16)}/20261122/eu/s3/aws4_request, Signature={d.of(HEX, 64)}", "\nAccept: */*"),
    "api key header": lambda d: (f"{d.one('X-Api-Key', 'x-auth-token', 'PRIVATE-TOKEN', 'X-Vault-Token')}: ", d.mixed(WORD, 30), "\nAccept: */*"),
    "presigned": lambda d: ("GET https://b.s3.amazonaws.com/k?X-Amz-Expires=600&X-Amz-Signature=", d.of(HEX, 62) + "a7", "&x=1"),
    "cookie": lambda d: ("GET / HTTP/1.1\nCookie: ", f"sid={d.of(ALNUM, 24)}; theme=dark", "\nHost: x"),
    "set-cookie": lambda d: ("Set-Cookie: sid=", d.of(ALNUM, 24), "; Path=/; HttpOnly"),
    "long option": lambda d: (f"/usr/bin/x --user app --{d.one('password', 'db-password', 'token', 'api-key')}{d.one('=', ' ')}", d.password(), " --verbose"),
    "argv of a process": lambda d: ("x\0--user\0app\0--password\0", d.password() + " " + d.password(), "\0--verbose\0"),
    "argv as json": lambda d: ('["x", "--password", "', d.password(), '", "--verbose"]'),
    "mysql -p": lambda d: ("  99 ?  S 0:00 mysqldump -h db -u root -p", d.password(), " orders"),
    "sshpass -p": lambda d: ("sshpass -p ", d.password(), " ssh host"),
    "curl -u": lambda d: ("curl -s -u bob:", d.password(), " https://x.example.com/"),
    "redis-cli -a": lambda d: ("redis-cli -h r -a ", d.password(), " info"),
    "openssl -passin": lambda d: ("openssl pkcs12 -in k.p12 -passin pass:", d.mixed(ALNUM, 12), " -nodes"),
    "identified by": lambda d: (f"CREATE USER 'a'@'%' IDENTIFIED {d.one('', 'WITH caching_sha2_password ')}BY '", d.password() + "''" + d.password(), "' REQUIRE SSL"),
    "set password": lambda d: (f"SET PASSWORD FOR 'a'@'%' = {d.one('', 'PASSWORD(')}'", d.password(), "'"),
    "create role": lambda d: (f"CREATE ROLE app LOGIN {d.one('ENCRYPTED ', '')}PASSWORD '", d.password(), "' VALID UNTIL 'x'"),
    "change master": lambda d: ("CHANGE MASTER TO MASTER_USER='r', MASTER_PASSWORD='", d.password(), "', MASTER_PORT=1"),
    "show variables": lambda d: ("report_host\tdb\nreport_password\t", d.password(), "\nreport_port\t3306"),
    "netrc": lambda d: ("machine x.example.com login bob password ", d.password(), "\n"),
    "redis.conf": lambda d: ("requirepass ", d.password(), "\nport 1"),
    "slack webhook": lambda d: ("POST https://hooks.slack.com/services/", f"T{d.of(string.ascii_uppercase, 8)}/B{d.of(string.ascii_uppercase, 8)}/{d.of(ALNUM, 24)}", " 200"),
    "telegram": lambda d: ("GET https://api.telegram.org/bot123456789:", "AA" + d.mixed(WORD, 33), "/getMe 200"),
    "discord webhook": lambda d: ("POST https://discord.com/api/webhooks/1186522910000000000/", d.of(WORD, 68), " 204"),
    "teams webhook": lambda d: ("https://acme.webhook.office.com/webhookb2/", f"{d.of(HEX, 32)}@{d.of(HEX, 32)}/IncomingWebhook/{d.of(HEX, 32)}", " 200"),
    "properties": lambda d: ("spring.datasource.username=app\nspring.datasource.password=", d.password(), "\nspring.jpa.x=1"),
    "php": lambda d: ("define('DB_PASSWORD', '", d.password(), "');"),
    "php array": lambda d: ("'db' => ['user' => 'app', 'password' => '", d.password(), "', 'port' => 1]"),
    "dot env": lambda d: ('APP_ENV=prod\nAPP_SECRET="', d.password(), '"\nAPP_DEBUG=0'),
    "toml": lambda d: ('[db]\nuser = "app"\npassword = "', d.password(), '"\nport = 1'),
    "xml attribute": lambda d: ('<datasource user="app" password="', d.password(), '" port="1"/>'),
    "datadog": lambda d: (f"{d.one('DD_API_KEY=', 'dd-api-key: ', 'DATADOG_APP_KEY=')}", d.of(HEX, 31) + "a", "\nDD_SITE=eu"),
    "kubernetes secret": lambda d: ("kind: Secret\ndata:\n  password: ", base64.b64encode(d.password().encode()).decode(), "\n  user: YXBw"),
    "pgpass": lambda d: ("PGPASSFILE=/x\ndb.example.com:5432:orders:app:", d.mixed(ALNUM, 20), "\n"),
    "wireguard": lambda d: ("[Interface]\nPrivateKey = ", d.of(ALNUM + "+/", 43) + "=", "\nListenPort = 1"),
}  # fmt: skip

KEY_PLACES = ("plain", "indented", "in json", "in a log", "windows")


def key_block(draw: Draw, place: str) -> Planted:
    """A private key block; the marker lines stay."""
    kind = draw.one("RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "")
    lines = [draw.of(ALNUM + "+/", 64) for _ in range(draw.random.randrange(2, 8))]
    lines.append(draw.of(ALNUM + "+/", draw.random.randrange(4, 60, 4)) + "==")
    begin, end = f"-----BEGIN {kind}PRIVATE KEY-----", f"-----END {kind}PRIVATE KEY-----"
    joint, left, right = {
        "plain": ("\n", "\n", "\n"),
        "indented": ("\n    ", "\n    ", "\n    "),
        "in json": ("\\n", "", ""),
        "in a log": ("\nNov 22 20:55:01 web-1 app[81]: ", "\nNov 22 20:55:01 web-1 app[81]: ", "\nNov 22 20:55:01 web-1 app[81]: "),
        "windows": ("\r\n", "\r\n", "\r\n"),
    }[place]  # fmt: skip
    secret = joint.join(lines)
    if place == "in json":
        secret = f"\\n{secret}\\n"
    if place == "in a log":
        secret, left = left[1:] + secret, "\n"
    return Planted(f"key block {place}", f"key {begin}{left}".encode(), secret.encode(), f"{right}{end}\nnext".encode())


def corpus(seed: int = 1) -> Iterator[Planted]:
    """EACH plantings of every format."""
    draw = Draw(Random(seed))
    for name, make in TOKENS.items():
        for _ in range(EACH):
            before, secret, after = _in_a_sentence(make(draw))
            yield Planted(name, before.encode(), secret.encode(), after.encode())
    for name, place in PLACES.items():
        for _ in range(EACH):
            yield Planted(name, *(piece.encode() for piece in place(draw)))
    for key_place in KEY_PLACES:
        for _ in range(EACH):
            yield key_block(draw, key_place)
