"""What a database's errors mean for the person who reads them, and how to mend each."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass
from typing import Literal

from bot.errors import StepFailed
from bot.model import MySql, Outcome
from bot.transports.shell import plain

# Codes of client and server (the MariaDB and MySQL error references). 1053: shutting down; 1927 and 3169: killed;
# 2006 and 2013: the connection went; 4031: closed for inactivity.
LOST = frozenset({1053, 1927, 2006, 2013, 3169, 4031})
TIMED_OUT = frozenset({1969, 3024})  # MariaDB's max_statement_time, MySQL's MAX_EXECUTION_TIME
REFUSED = frozenset({1045, 1698})  # the account or its password
NO_TLS = 2026  # the client library's own code for trouble with TLS
_UNFIT = frozenset({1054, 1064, 1109, 1146, 1193, 1305})  # the server knows no such column, table, variable, syntax

# Privileges that only show something.
SEEING = frozenset(
    {
        "BINLOG MONITOR",
        "PROCESS",
        "REPLICA MONITOR",
        "REPLICATION CLIENT",
        "SELECT",
        "SHOW CREATE ROUTINE",
        "SHOW DATABASES",
        "SHOW VIEW",
        "SHOW_ROUTINE",
        "SLAVE MONITOR",
        "USAGE",
    }
)

_CERTIFICATE_NAME = 62  # X509_V_ERR_HOSTNAME_MISMATCH
_CERTIFICATE_ADDRESS = 64  # X509_V_ERR_IP_ADDRESS_MISMATCH
_CERTIFICATE_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


class SqlError(Exception):
    """The server, or the connection to it, answered with an error; *code* is 0 where there is none.

    *message* is on one line, of signs that can be printed, and short.
    """

    def __init__(self, code: int, message: str) -> None:
        message = plain(message)
        super().__init__(f"ERROR {code}: {message}" if code else message)
        self.code = code
        self.message = message

    @property
    def lost(self) -> bool:
        """The connection went; nothing more can be asked on it."""
        return self.code in LOST

    @property
    def timed_out(self) -> bool:
        """The limit on the server itself ended the statement."""
        return self.code in TIMED_OUT


class AccountRefused(StepFailed):
    """The server knows no such account or password, as after a rotation; a secret that is read anew may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a server says of itself; *account* is the one that its grants are for, quoted for a GRANT."""

    flavour: Literal["mariadb", "mysql"]
    version: tuple[int, ...]
    account: str
    performance_schema: bool

    def __str__(self) -> str:
        return f"{self.flavour}-{'.'.join(map(str, self.version))}"


def performance_schema_cure(server: Server) -> str:
    """How to turn it on; it cannot be done while the server runs."""
    return f"add performance_schema=ON below [{'mariadbd' if server.flavour == 'mariadb' else 'mysqld'}] in my.cnf and restart the server when it suits"


def login_failed(target: str, mysql: MySql, error: SqlError | ssl.SSLError | OSError) -> StepFailed:
    """No connection could be had: which server, why, and what to do."""
    where = f"{target} ({mysql.host}:{mysql.port})"
    if isinstance(error, ssl.SSLError):
        return StepFailed(f"{where}: {_certificate_trouble(mysql, error)}")
    if isinstance(error, SqlError):
        kind = AccountRefused if error.code in REFUSED else StepFailed
        return kind(_login_words(where, mysql, error))
    why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    return StepFailed(
        f"{where} cannot be reached: {why} — is the server running, and are host, port and firewall right?"
    )


def hangs(target: str, mysql: MySql, seconds: float) -> StepFailed:
    """The server took the connection, or not even that, and said nothing."""
    return StepFailed(
        f"{target} ({mysql.host}:{mysql.port}) did not let us in within {seconds:.0f} s — it hangs, is overloaded, "
        "or a firewall drops the packets; look at its host",
        outcome=Outcome.TIMED_OUT,
    )


def cure_of(error: SqlError, server: Server, text: str) -> str:
    """What to do about a statement's error, as a clause; "" where nobody could say."""
    if error.code == 1227 and (found := re.search(r"the (.+?) privilege", error.message)):
        privileges = [name.strip() for name in found[1].split(",")]
        if least := next((name for name in privileges if name in SEEING), None):
            return f"GRANT {least} ON *.* TO {server.account}"
        return f"nothing: who has {privileges[0]} can change things too, and a capture does without it"
    if error.code == 1142 and (
        found := re.search(r"(SELECT|SHOW VIEW) command denied .* for table .*?[`'](\w+)[`']$", error.message)
    ):
        schema = re.search(rf"`?(\w+)`?\s*\.\s*`?{found[2]}\b", text, re.IGNORECASE)
        of = schema[1] if schema else "…"
        one = found[2] if of == "mysql" else "*"  # the other tables of that schema hold what nobody else may read
        return f"GRANT {found[1]} ON {of}.{one} TO {server.account}"
    if error.code == 1109 and "METADATA_LOCK_INFO" in error.message.upper():
        return "who holds metadata locks is known after INSTALL SONAME 'metadata_lock_info' on the server"
    match error.code:
        case 1356 | 1370:
            return f"GRANT SELECT, EXECUTE ON sys.* TO {server.account}"
        case 1046:
            return "name the schema in the statement, or give the target a database"
        case 1205:
            return "a lock was not free within 2 s, and the capture does not wait for locks"
        case 1317:
            return "somebody killed it on the server"
        case 1094 | 1933 | 3012:
            return "it has just ended, or is nothing that has a plan"
        case 1969 | 3024:
            return "give the step more time, or ask for less"
        case code if code in _UNFIT:
            return f"the recipe does not fit {server}: give the statement a text for it"
    return ""


def _certificate_trouble(mysql: MySql, error: ssl.SSLError) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"the TLS handshake failed ({error.reason or error}) — does the server offer TLS 1.2 or later?"
    match error.verify_code:
        case code if code in (_CERTIFICATE_NAME, _CERTIFICATE_ADDRESS):
            return (
                f"the server's certificate is not for the name {mysql.host} — set the target's host to a name in the "
                "certificate, or have one issued for this name"
            )
        case code if code == _CERTIFICATE_EXPIRED:
            return "the server's certificate has expired — renew it"
        case _:
            trusted = f"by {mysql.ca}" if mysql.ca else "by this machine's authorities"
            return f"the server's certificate is not vouched for {trusted} ({error.verify_message}) — set the target's ca to the authority's PEM file"


def _login_words(where: str, mysql: MySql, error: SqlError) -> str:
    match error.code:
        case code if code in REFUSED:
            return f"{where} refused the account {mysql.user} ({error.message}) — check the target's user and password, and that the account may come from this address"
        case 1044 | 1049:
            return f"{where}: {error.message} — check the target's database, or leave it out"
        case 1040 | 1203 | 1226:
            return (
                f"{where} takes no more connections ({error.message}): this itself is a finding, clients are using all of them "
                "— look for the client that holds them, or raise max_connections"
            )
        case 1129 | 1130:
            return f"{where} does not take connections from this address ({error.message}) — create the account for it, or run mariadb-admin flush-hosts"
        case 1820 | 1862:
            return f"{where}: the password of {mysql.user} has expired — set a new one"
        case 2059:
            return (
                f"{where}: {error.message} — set the target's tls to verify; where it is, let the account {mysql.user} use "
                "mysql_native_password, or caching_sha2_password on MySQL"
            )
        case 3159:
            return f"{where} wants TLS — set the target's tls to verify"
        case code if code == NO_TLS:
            return f"{where}: {error.message}"
        case code if code in LOST:
            return f"{where} closed the connection while we logged in — it may be starting, stopping or restarting"
        case 0:
            return f"{where} does not speak as MySQL does ({error.message}) — is the port right?"
    return f"{where} let us not in: {error}"
