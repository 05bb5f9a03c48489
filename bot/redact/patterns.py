r"""What secrets look like: data for the stream, one row a shape.

A row has two regular expressions over bytes. *spot* says where a secret may be: it is short, never crosses a newline,
and is written in what google-re2 and `re` have in common, because all spots together become one re2 alternation (open
or short repeats only: exact ones such as ``{36}`` make its automaton outgrow its memory and a hundred times slower).
*value* is matched by `re` at a spot: its last group is the secret, and what stands before it stays readable. Repeats in
it are possessive or bounded, so that a value that turns out to be none costs little and no text is slow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from bot.redact import judge, options
from bot.redact.keyblock import key_block

Refine = Callable[[re.Match[bytes]], tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One shape of secret; *refine* has the last word on where it starts and ends, or that it is none."""

    kind: str
    spot: bytes
    value: re.Pattern[bytes]
    refine: Refine = judge.whole


def _rule(kind: str, spot: bytes, value: bytes, refine: Refine = judge.whole) -> Rule:
    return Rule(kind, spot, re.compile(value), refine)


# A token that could also be the end of a word starts here: after a sign, a JSON escape or a URL escape.
_EDGE = rb"(?:[^A-Za-z0-9]|\\[nrt]|%[0-9A-Fa-f][0-9A-Fa-f])"
_WORD = rb"[A-Za-z0-9_-]"
_ALNUM = rb"[A-Za-z0-9]"


def _token(
    kind: str, head: bytes, body: bytes = _WORD, least: int = 16, *, tail: bytes = b"", edge: bytes = b""
) -> Rule:
    """A token that is known by its *head*: then *least* or more of *body*, then *tail*."""
    value = b"%s(%s%s{%d,}+%s)" % (edge, head, body, least, tail)
    return _rule(kind, edge + head + body * 4, value)


def _exact(kind: str, head: bytes, body: bytes, length: int, *, edge: bytes = b"") -> Rule:
    """A token of one length, so that a longer run of the same characters is none."""
    value = b"%s(%s%s{%d})(?!%s)" % (edge, head, body, length, _ALNUM)
    return _rule(kind, edge + head + body * 4, value)


_SERVICES = (
    rb"(?:gsk_|xai-|pplx-|r8_|nvapi-|ntn_|lin_api_|figd_|sq0[a-z]{3}-|xkeysib-|sntry[su]_|PMAK-|tskey-|pscale_(?:tkn|oauth|pw)_"
    rb"|rubygems_|CFPAT-|LTAI|HRKU-|sbp_|ATBB|glc_|dt0c01\.|NRII-|ops_eyJ|do[or]_v1_|dp\.(?:pt|st|sa|ct)\.)"
)

_TOKENS = [
    _rule(
        "private-key",
        rb"-----? ?BEGIN [A-Z0-9 ]{0,}PRIVATE KEY|Private-Lines: [0-9]",
        rb"(?:-----? ?BEGIN [A-Z0-9 ]*+(?: BLOCK)? ?-----?|Private-Lines: [0-9]++)()",
        key_block,
    ),
    _rule(
        "jwt",
        _EDGE + rb"eyJ" + _WORD * 5,
        _EDGE + rb"(eyJ[A-Za-z0-9_-]{5,8192}+(?:(?:\.[A-Za-z0-9_-]*+){2,4}|\.eyJ[A-Za-z0-9_-]++))",
    ),
    _exact("aws-key", rb"A(?:KIA|SIA|BIA|CCA)", rb"[A-Z0-9]", 16),
    _token("aws-key", rb"IQoJb3JpZ2lu", rb"[A-Za-z0-9+/=]", 80),
    _token("github-token", rb"gh[pousr]_", rb"[A-Za-z0-9_]", 36, tail=rb"(?:\.[A-Za-z0-9_-]++)*+"),
    _token("github-token", rb"github_pat_", rb"[A-Za-z0-9_]", 22),
    _token("gitlab-token", rb"gl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|oas|soat|ffct)-", tail=rb"(?:\.[A-Za-z0-9_-]++)*+"),
    _token("slack-token", rb"xox(?:[abcdeoprs]|e\.xox[bp])-", rb"[A-Za-z0-9-]", 10),
    _token("slack-token", rb"xapp-", rb"[A-Za-z0-9-]", 20),
    _rule(
        "slack-webhook",
        rb"hooks\.slack\.com/(?:services|workflows|triggers)/",
        rb"hooks\.slack\.com/[a-z]++/([A-Za-z0-9/_-]{8,}+)",
    ),
    _token("stripe-key", rb"[sr]k_(?:live|test)_", _ALNUM),
    _token("stripe-key", rb"whsec_", rb"[A-Za-z0-9+/=]", 24),
    _token("google-key", rb"AIza", _WORD, 35),
    _token("google-key", rb"ya29\.", rb"[A-Za-z0-9._-]", 20),
    _token("google-key", rb"GOCSPX-", _WORD, 20),
    _token("google-key", rb"1//0", _WORD, 40, edge=_EDGE),
    _rule("azure-key", rb"[0-9]Q~[A-Za-z0-9_~.-]", rb"[0-9](Q~[A-Za-z0-9_~.-]{31,}+)", judge.azure_secret),
    _rule("azure-key", rb"[?&;]sig=[A-Za-z0-9%]", rb"[?&;]sig=([A-Za-z0-9%+/=_-]{20,}+)"),
    _token("npm-token", rb"npm_", _ALNUM, 36),
    _token("pypi-token", rb"pypi-AgE", _WORD, 40),
    _exact("twilio-key", rb"SK", rb"[0-9a-f]", 32, edge=_EDGE),
    _token("sendgrid-key", rb"SG\.", _WORD, 16, tail=rb"\.[A-Za-z0-9_-]{16,}+"),
    _token("pagerduty-key", rb"pd[a-z][a-z]\+_", rb"[A-Za-z0-9_+-]", 20),
    _rule("pagerduty-key", rb"[^A-Za-z0-9+/]u\+" + _WORD * 4, rb"[^A-Za-z0-9+/](u\+[A-Za-z0-9_-]{18})(?![A-Za-z0-9_-])"),
    _token("anthropic-key", rb"sk-ant-"),
    _rule("openai-key", _EDGE + rb"sk-" + _WORD * 4, _EDGE + rb"(sk-[A-Za-z0-9_-]{20,}+)", judge.random_looking),
    _token("vault-token", rb"hv[sbr]\.", _WORD, 20, edge=_EDGE),
    _rule("vault-token", _EDGE + rb"s\." + _ALNUM * 6, _EDGE + rb"(s\.[A-Za-z0-9]{24})(?![A-Za-z0-9.(])", judge.random_looking),
    _token("token", rb"dop_v1_", _ALNUM, 32),
    _token("token", rb"shp(?:at|ca|pa|ss)_", _ALNUM, 32),
    _token("token", rb"hf_", _ALNUM, 30, edge=_EDGE),
    _token("token", rb"glsa_", rb"[A-Za-z0-9_]", 32),
    _token("token", rb"NRAK-", _ALNUM, 20),
    _token("token", rb"dckr_(?:pat|oat)_", _WORD, 20),
    _token("token", rb"ATATT3", rb"[A-Za-z0-9_=-]", 50),
    _token("token", rb"AGE-SECRET-KEY-1", rb"[A-Z0-9]", 40),
    _exact("token", rb"dapi", rb"[0-9a-f]", 32, edge=_EDGE),
    _exact("token", rb"key-", rb"[0-9a-f]", 32, edge=_EDGE),
    _rule(
        "token",  # Groq, xAI, Perplexity, Replicate, NVIDIA, Notion, Linear, Figma, Square, Brevo, Sentry, Postman, Tailscale, …
        _EDGE + _SERVICES + _WORD * 4,
        _EDGE + rb"(" + _SERVICES + rb"[A-Za-z0-9_.-]{20,}+)",
        judge.random_looking,
    ),
    _rule("token", rb"[0-9]:AA" + _WORD * 4, rb"[0-9]:(AA[A-Za-z0-9_-]{33})(?![A-Za-z0-9_-])"),  # Telegram
    _rule("webhook", rb"/api/webhooks/[0-9]{1,}/" + _WORD * 4, rb"/api/webhooks/[0-9]++/([A-Za-z0-9_-]{20,}+)"),  # Discord
    _rule("webhook", rb"\.webhook\.office\.com/[A-Za-z0-9]", rb"\.webhook\.office\.com/[a-zA-Z0-9]++/([A-Za-z0-9/@_-]{20,}+)"),
    _rule("card", rb"[^0-9A-Za-z_.+/#-][2-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{2}", rb".((?:[0-9]{15,16}|[0-9]{4} [0-9]{4} [0-9]{4} [0-9]{4}|[0-9]{4}-[0-9]{4}-[0-9]{4}-[0-9]{4}|[0-9]{4} [0-9]{6} [0-9]{5}))(?!\.?[0-9A-Za-z])", judge.card),
    _rule("password-hash", rb"\$(?:[156y]|2[abxy]|gy|7)\$[./A-Za-z0-9]", rb"(\$[0-9a-z]{1,2}\$[./A-Za-z0-9$,=+-]{20,}+)"),
    _rule("password-hash", rb"\*[0-9A-F]{6}", rb"(\*[0-9A-F]{40})(?![0-9A-Za-z])"),
]  # fmt: skip

# --- keys and their values ----------------------------------------------------------------------

_CLOSE = rb"[\\\"'\]]{0,4}"  # what may stand between a key and its sign: the quote of a JSON key, escaped or not
_SIGN = _CLOSE + rb"[ \t]{0,}[:=]"
_OPENED = rb"(?:=>|:=|==|[:=])[ \t]*+"
_SOFT = rb",;&)}|<>\"'`"  # ends an unquoted value only where what follows says so
_NEXT = rb"(?:[ \t\r\n\0]|\Z|/[A-Za-z]|[ \t]?[\"']?[A-Za-z0-9_.\[\]-]{1,64}[\"'\]]{0,2}[ \t]?[=:])"
_VALUE = (
    rb"(?:[bruBRU@]{0,2}(?:"
    rb"\\{1,3}[\"']((?:[^\\\"'\r\n]|\\(?!\\{0,2}[\"'])|[\"'](?![,}\]:; ]))++)"  # quoted inside a quoted text
    rb"|\"((?:[^\"\\\r\n]++|\\[^\r\n])++)|'((?:[^'\\\r\n]++|\\[^\r\n]|'')++)|`([^`\r\n]++))"
    rb"|\[([^\]\r\n]++)"  # a list
    rb"|((?:[^ \t\r\n\0\[\]" + _SOFT + rb"]++|[" + _SOFT + rb"](?![" + _SOFT + rb"]{0,8}+" + _NEXT + rb")|[\[\]](?![,;\"']?[ \t\r\n\0]|\Z))++))"
)  # fmt: skip


def _key(kind: str, words: bytes, refine: Refine, *, suffix: bytes = b"") -> Rule:
    """``key = value`` in configuration, environment, JSON, YAML, code, DSNs and queries."""
    return _rule(kind, words + suffix + _SIGN, words + suffix + _CLOSE + rb"[ \t]*+" + _OPENED + _VALUE, refine)


_PASSWORD = rb"(?i:passw(?:or)?d|pass[_-]?phrase|wsrep_sst_auth|sasl_pass)"
_PASS = rb"(?i:_pass|_pwd)"
_SECRET = (
    rb"(?i:secret(?:[_-]?(?:key|id|value|string|token|access[_-]?key))?"
    rb"|(?:api|access|private|encryption|signing|account|shared[_-]?access|master|app|preshared|storage|license)[_-]?key"
    rb"|api[_-]?secret|client-key-data)"
)
_TOKEN = rb"(?i:(?:access|refresh|auth|api|bearer|session|security|id|private|bot)[_-]?token)"
_WEAK = rb"(?i:token|credentials?|(?:routing|integration|service)[_-]?key|j?session[_-]?(?:id|key)|phpsessid|connect\.sid|x-amz-signature|psk)"
_SUFFIX = rb"(?:_?[0-9]{1,3}|(?i:s|_plain|_value|_text))?"

_KEYS = [
    _rule("password", rb"[ \t\0\"']pass:[^ \t\r\n\0\"']", rb"[ \t\0\"']pass:([^ \t\r\n\0\"']++)", options.openssl),
    _key("password", _PASSWORD, judge.assigned, suffix=_SUFFIX),
    _key("password", _PASS, judge.assigned, suffix=_SUFFIX),
    _key("password", rb"(?i:pwd)", judge.bare_pass),
    _key("password", rb"[^A-Za-z](?:[Pp]ass|PASS=)", judge.bare_pass),  # not the PASS: of a test's log
    _key("secret", _SECRET, judge.assigned, suffix=_SUFFIX),
    _key("token", _TOKEN, judge.assigned_token),
    _key("token", _WEAK, judge.random_looking),
    _key("token", rb"[\"_]auth", judge.basic),
    _rule("password", rb"(?i:password|secret|token)>[^<\r\n ]", rb"(?i:password|secret|token)>(?:([^<\r\n]{4096,}+)|([^<\r\n]{1,4095}+)</)", judge.assigned),
    _rule(
        "password",
        rb"\n[a-z_]{1,}_(?:password|auth)\t[^\t\r\n]",  # a row of SHOW VARIABLES
        rb"\n[a-z_]++\t([^\t\r\n]++)(?=[\r\n]|\Z)",
        judge.assigned,
    ),
    _rule(
        "authorization",
        rb"(?i:authorization)" + _CLOSE + rb"[ \t]{0,3}[:=,]",
        rb"(?i:authorization)" + _CLOSE + rb"[ \t]{0,3}(?:=>|[:=,])[ \t\\\"'\[(]{0,6}(?:b[\"'])?(?:"
        rb"(?i:digest|aws4-hmac-sha256|oauth|signature|hawk)[ \t]++([^\r\n\0']++)"
        rb"|(?i:basic|bearer|token|bot|apikey|negotiate|ntlm|key)[ \t]++([^ \t\r\n\0\"'\\,;\])]++)"
        rb"|([^ \t\r\n\0\"'\\,;\])]++))",
        judge.authorization,
    ),
    _rule(
        "authorization",
        rb"(?i:bearer)(?:[ \t]|%20){1,3}[A-Za-z0-9._~+/-]{4}",
        rb"(?i:bearer)(?:[ \t]|%20)++([A-Za-z0-9._~+/=-]{8,}+)",
        judge.random_looking,
    ),
    _rule("authorization", rb"(?i:basic)[ \t]{1,3}[A-Za-z0-9+/]{6}", rb"(?i:basic)[ \t]++([A-Za-z0-9+/_-]{6,}+={0,2})", judge.basic),
    _rule("cookie", rb"(?i:set-cookie)" + _SIGN, rb"(?i:set-cookie)" + _CLOSE + rb"[ \t]*+[:=][ \t\\\"'\[]{0,4}[^=;\s\"']{1,256}+=([^;\s\"'\\]++)"),
    _rule(
        "cookie",
        rb"(?i:cookie)s?" + _SIGN,
        rb"(?<![Ss][Ee][Tt]-)(?i:cookie)s?" + _CLOSE + rb"[ \t]*+[:=][ \t\\\"'\[]{0,4}"
        rb"([A-Za-z0-9_.%-]{1,256}+=[^;\s\"'\\]*+(?:; ?[A-Za-z0-9_.%\[\]-]++=[^;\s\"'\\]*+)*+)",
    ),
]  # fmt: skip

# --- addresses, statements, command lines --------------------------------------------------------

_PLAIN = rb"[^ \t\r\n\0\"'<>`]"
_AUTHORITY = rb"[^ \t\r\n\0/\"'<>`]"  # may hold an @: people do not always escape it
_ARGUMENT = rb"(?:\"((?:[^\"\\\r\n]++|\\[^\r\n])++)|'([^'\r\n]++)|((?:[^ \t\r\n\0\"'\\]|\\[^\r\n\0])++))"
_BLANK = rb"(?:[\"'],[ \t]?[\"']|[ \t\0]{1,3}[\"']?)"  # between arguments: on a command line, in /proc, in a JSON array
_OPTION = (
    rb"-(?:[A-Za-z0-9]{0,}-?(?i:passw(?:or)?d|passphrase|secret|token|(?:api|access|secret|private|auth)[_-]?(?:key|token))"
    rb"|(?:[A-Za-z0-9]{0,}-)?(?:store|key|trust)?pass)"
)

_PLACES = [
    _rule(
        "url-password",
        rb"://[^ \t\r\n\0/:\"'<>\[\]]{0,}:(?:[^ \t\r\n\0/@]{6}|[^ \t\r\n\0/@]{1,5}@)",
        # Up to the last @ of the authority. A run of 4096 without a slash is no port, with an @ in sight or not.
        rb"://[^ \t\r\n\0/:\"'<>\[\]]*+:(?:(" + _AUTHORITY + rb"{4096,}+)|(" + _AUTHORITY + rb"{1,4095})(?=@(?!sha256:))"
        rb"|((?![0-9]{1,5}[/?#])[^ \t\r\n\0\"'<>`@/]{1,256}/[^ \t\r\n\0\"'<>`@]{1,256})(?=@[A-Za-z0-9.-]+(?:[:/?\s]|\Z)))",
    ),
    _rule(
        "url-password",
        rb":[^ \t\r\n\0:@/(]{1,}@(?:tcp|unix)\(",  # user:password@tcp(host:3306)/name
        rb":([^ \t\r\n\0:@/(]++)@(?:tcp|unix)\(",
        judge.whole_password,
    ),
    _rule(
        "url-password",
        rb"(?::thin:|(?i:sqlplus)[ \t]{1,3})[A-Za-z0-9_$#\"]{1,}/[^ \t\r\n/@]",
        rb"(?::thin:|(?i:sqlplus)[ \t]++)[^ \t\r\n/]++/(" + _PLAIN + rb"{1,256})(?=@)",
    ),
    _rule(
        "password",
        rb"(?i:identified)[ \t]{1,3}(?i:by|with|via)[ \t]",
        rb"(?i:identified[ \t]++(?:(?:with|via)[ \t]++[^ \t\r\n]++[ \t]++(?:by|as|using)|by)[ \t]++(?:password[ \t]*+\(?[ \t]*+)?)"
        rb"\\{0,3}(?:'((?:[^'\\\r\n]|\\[^'\r\n]|\\'(?![,)\s;])|'')++)|\"((?:[^\"\\\r\n]|\\[^\"\r\n]|\\\"(?![,)\s;]))++))",
        judge.assigned,
    ),
    _rule(
        "password",
        rb"(?i:password)(?:[ \t]{1,3}|[ \t]{0,2}\([ \t]{0,2})\\{0,3}[\"'][^ \t\"',)]",
        rb"(?i:password)[ \t]*+\(?[ \t]*+\\{0,3}(?:'((?:[^'\\\r\n]|\\[^'\r\n]|'')++)|\"((?:[^\"\\\r\n]|\\[^\"\r\n])++))",
        judge.assigned,
    ),
    _rule(
        "password",
        rb"(?i:set password for )",
        rb"(?i:set password for )[^ \t\r\n=]++[ \t]*+=[ \t]*+(?:'([^'\r\n]++)|\"([^\"\r\n]++))",
        judge.assigned,
    ),
    _rule(
        "password",  # define('DB_PASSWORD', 'secret') of PHP
        rb"(?i:define)\([\"'][A-Za-z0-9_]{1,}[\"'],",
        rb"(?i:define)\([\"'](?i:[a-z0-9_]*(?:pass|pwd|secret|token|key|salt)[a-z0-9_]*)[\"'],[ \t]*+"
        rb"(?:'((?:[^'\\\r\n]++|\\[^\r\n])++)|\"((?:[^\"\\\r\n]++|\\[^\r\n])++))",
        judge.assigned,
    ),
    _rule(
        "password",  # host:port:database:user:secret, a line of .pgpass
        rb":[0-9]{4,5}:[^: \t\r\n/]{1,}:[^: \t\r\n/]{1,}:[^: \t\r\n/]",
        rb":[0-9]{4,5}:[^: \t\r\n/]++:[^: \t\r\n/]++:([^: \t\r\n/]++)(?=[\r\n]|\Z)",
        judge.random_looking,
    ),
    _rule("password", rb"login[ \t]{1,4}[^ \t\r\n]{1,}[ \t]{1,4}password[ \t]", rb"login[ \t]++[^ \t\r\n]++[ \t]++password[ \t]++([^ \t\r\n]++)"),
    _rule("password", rb"(?:requirepass|masterauth)[\"']?[ \t]{1,3}[^ \t\r\n]", rb"(?:requirepass|masterauth)[\"']?[ \t]++" + _ARGUMENT, judge.assigned),
    _rule(
        "password",
        _OPTION + _BLANK + rb"[^- \t\0\r\n\"',]",
        _OPTION + rb"(?:[\"'],[ \t]?(?=[\"'])|[ \t\0]++)" + _ARGUMENT,
        options.option,
    ),
    _rule("password", rb"[ \t\0\"']-p[^- \t\0\r\n\"',=]{2}", rb"[ \t\0\"']-p" + _ARGUMENT, options.attached_option),
    _rule(
        "password",
        rb"[ \t\0\"']-[apwPu](?:=|" + _BLANK + rb")[^- \t\0\r\n\"',]",
        rb"[ \t\0\"']-[apwPu](?:=|[\"'],[ \t]?(?=[\"'])|[ \t\0]++)" + _ARGUMENT,
        options.short_option,
    ),
    _rule("password", rb"--user[= \0][\"']?[^ \t\r\n\0:\"']{1,}:", rb"--user[= \0]" + _ARGUMENT, options.short_option),
]  # fmt: skip

RULES: tuple[Rule, ...] = (*_TOKENS, *_KEYS, *_PLACES)
SPOTS = b"|".join(rule.spot for rule in RULES)
