"""aiomysql with its gaps closed: the only file that knows the library.

Measured on aiomysql 0.3.2, each guarded here: it goes on in plain text when TLS was asked for and the
server has none; it lets statements be joined by ``;``; it hands over the password to a server that asks
for it, in plain text, under a key that the server has just sent, or as the hash of MySQL 4.0, which is as
good; it reads as many columns, and as many further answers, as a server promises; closing a cursor reads
the rest of the answer, so no cursor is used; and a connection that is closed under a reader raises
AttributeError in place of the cancellation.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiomysql
from pymysql import err
from pymysql.constants import CLIENT, FIELD_TYPE
from pymysql.protocol import MysqlPacket

from bot.errors import StepFailed
from bot.model import MySql
from bot.transports.mysql_errors import SqlError
from bot.transports.mysql_table import Column

_BINARY = 63  # the character set of bytes that are no text
_WHOLE = frozenset({FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG})
# Codes of the client's own, from the MySQL error reference; the server never sends them.
_CANNOT_CONNECT, _CONNECTION_LOST, _TOO_LARGE, _NO_TLS, _NO_PLUGIN, _NO_FILE = 2003, 2013, 2020, 2026, 2059, 2068
_PLAIN_PLUGINS = ("mysql_clear_password", "mysql_old_password")
_SWITCH, _WANTS_FILE = b"\xfe", b"\xfb"  # what a packet begins with, from the protocol's documentation


@dataclass(frozen=True, slots=True)
class _Part:
    """What a server says in one go: the most that it may take, headers of packets included, and what is said of more."""

    limit_bytes: int
    excess: str


_LOGIN = _Part(64 * 1024, "it said more than 64 KiB while we logged in")
_HEAD = _Part(512 * 1024, "it said more than 512 KiB before the first row: ask for fewer columns")
_ROW = _Part(16 * 1024 * 1024, "a row is larger than 16 MiB: ask for LEFT(column, 1024)")


class Wire(aiomysql.Connection):  # type: ignore[misc]  # aiomysql ships no types
    """aiomysql's connection with its gaps closed."""

    def __init__(self, mysql: MySql, password: str, tls: ssl.SSLContext | None, socket: str | None) -> None:
        super().__init__(
            host=mysql.host,  # with a socket in its place this is only the name that TLS verifies
            port=mysql.port,
            unix_socket=socket,
            user=mysql.user,
            password=password.encode().decode("latin-1"),  # aiomysql encodes it as latin-1: the server gets UTF-8
            db=mysql.database,
            ssl=tls,
            charset="utf8mb4",
            use_unicode=False,
            conv={},  # no conversion: every value is the server's own text
            autocommit=True,
            program_name="capturebot",
        )
        self.client_flag &= ~CLIENT.MULTI_STATEMENTS
        self._part, self._left_bytes = _LOGIN, _LOGIN.limit_bytes
        self._reader: asyncio.StreamReader | None
        self._writer: asyncio.StreamWriter | None

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return bool(self._secure)

    async def open(self) -> None:
        """Connect and log in."""
        self._expect(_LOGIN)
        await self._connect()

    async def ask(self, text: str) -> tuple[Column, ...]:
        """Send a statement and read the head of its answer."""
        if self._result is not None and self._result.has_next:
            raise ValueError("another answer follows, which nobody asked for")
        self._expect(_HEAD)
        await self.query(text, unbuffered=True)
        if not self._result.field_count:
            return ()
        return tuple(
            Column(name=found.name, binary=found.charsetnr == _BINARY, whole=found.type_code in _WHOLE)
            for found in self._result.fields
        )

    async def row(self) -> tuple[bytes | None, ...] | None:
        """Read the next row, None after the last."""
        self._expect(_ROW)
        row: tuple[bytes | None, ...] | None = await self._result._read_rowdata_packet_unbuffered()  # noqa: SLF001  # a cursor's close would drain
        if row is not None and len(row) != self._result.field_count:
            raise ValueError(f"a row has {len(row)} of {self._result.field_count} columns")
        return row

    def close(self) -> None:
        """Drop the connection, whoever reads from it."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer:
            writer.transport.abort()  # a goodbye of TLS would wait for a server that may hang

    async def _request_authentication(self) -> None:
        self._secure = False  # aiomysql trusts every local socket; ours leads through a jump host to a network
        if self._ssl_context and not self.server_capabilities & CLIENT.SSL:
            raise err.OperationalError(
                _NO_TLS,
                "the server offers no TLS; no user and no password was sent to it — set it up there "
                "(ssl_cert, ssl_key), or set the target's tls to off",
            )
        if not self._ssl_context:
            self._refuse_plain(self._server_auth_plugin)
        await super()._request_authentication()

    @property
    def server_public_key(self) -> None:
        """Read by the library when the password shall go out under a key of the server's, which anybody in between can send too."""
        raise err.OperationalError(_NO_PLUGIN, "the server wants the password under a key that it sends without TLS")

    @server_public_key.setter
    def server_public_key(self, _: bytes | None) -> None:
        """No key of a server's is kept."""

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        if not self._secure:
            self._refuse_plain(plugin_name.decode(errors="replace"))
        return await super()._process_auth(plugin_name, auth_packet)

    def _refuse_plain(self, plugin: str) -> None:
        if plugin in _PLAIN_PLUGINS:
            raise err.OperationalError(_NO_PLUGIN, f"the server wants the password by {plugin} without TLS")

    def _expect(self, part: _Part) -> None:
        self._part, self._left_bytes = part, part.limit_bytes

    async def _read_packet(self, packet_type: type[MysqlPacket] = MysqlPacket) -> MysqlPacket:
        packet: MysqlPacket = await super()._read_packet(packet_type)
        said: bytes = packet.get_all_data()
        if self._part is _HEAD and said.startswith(_WANTS_FILE):
            self.close()
            raise err.OperationalError(_NO_FILE, "the server asked for a file of this machine, and was sent none")
        if self._part is _LOGIN and said.startswith(_SWITCH) and not self._secure:
            named = b"\0" in said and self.server_capabilities & CLIENT.PLUGIN_AUTH
            if not named:  # the library would answer with the hash of MySQL 4.0
                self._refuse_plain("mysql_old_password")
        return packet

    async def _read_bytes(self, num_bytes: int) -> bytes:
        if self._reader is None:
            raise err.OperationalError(_CONNECTION_LOST, "the connection was closed")
        self._left_bytes -= num_bytes
        if self._left_bytes < 0:
            self.close()
            raise err.OperationalError(_TOO_LARGE, self._part.excess)
        data: bytes = await super()._read_bytes(num_bytes)
        return data


@contextmanager
def told(wire: Wire) -> Iterator[None]:
    """Turn what the library raises into SqlError, or the OSError behind it; close what is not in step any more."""
    try:
        yield
    except err.InterfaceError as error:
        raise SqlError(_CONNECTION_LOST, str(error)) from error
    except err.MySQLError as error:
        if error.args[0] == _CANNOT_CONNECT and isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        code, message = error.args if len(error.args) == 2 else (0, str(error))
        raise SqlError(code if isinstance(code, int) else 0, str(message)) from error
    except (SqlError, StepFailed, OSError):
        wire.close()
        raise
    except Exception as error:  # the library fails in any way there is on packets that are none
        wire.close()
        raise SqlError(0, f"its answer makes no sense: {error}") from error
    except BaseException:
        wire.close()
        raise
