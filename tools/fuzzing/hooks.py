"""What schemathesis cannot know: who calls, what exists, and which of its requests would end the run.

Half of the requests go out as they were made up. In the others ids, money and the like are replaced by such
that mean something, since what is made up seldom gets past the first look. All is drawn from the seed and
the request itself, so a seed finds the same again.
"""

import atexit
import collections
import hashlib
import hmac
import json
import os
import random
import threading
import time

import requests
import schemathesis
from urllib3.util import connection

from shop import ADDRESS, NOWHERE, PASSWORD, Shop, anywhere, webhook_secret

CALLER = os.environ["FUZZ_CALLER"]
SEED = os.environ["FUZZ_SEED"]
# an access token works for ten minutes
TOKEN_SECONDS = 300

shop = Shop(os.environ["FUZZ_READY"])
shop.fill()
OWN_KEY = next(key["id"] for key in shop.call("GET", "/v1/keys?limit=100", shop.key)["data"] if key["role"] == "admin")
KEYS = {role: shop.call("POST", "/v1/keys", shop.key, {"role": role})["key"] for role in ("pos", "auditor")}
SECRET = webhook_secret()
lock = threading.Lock()
renewed = time.monotonic()
answered = collections.defaultdict(collections.Counter)
atexit.register(lambda: tell() if os.environ.get("TALLY") else None)

# names of fields and parameters with values that mean something
GOOD = {
    "value": ["249.00", "0.01", "100", "999999999999999"], "currency": ["INR", "USD", "JPY"],
    "amount": ["249.00", "0.01"], "unit_price": ["1.5"], "quantity": [1, 2, -1], "points": ["1", "2", "0.5"],
    "points_amount": [1, 2], "tax_rate": ["18", "0"], "rate": ["0.01", "1"], "minimum": ["1"],
    "multiplier": ["1.5"], "sku": ["LAMP-1"], "customer_address": [ADDRESS], "customeraddress": [ADDRESS],
    "address": [ADDRESS], "password": [PASSWORD], "current_password": [PASSWORD],
    "new_password": ["another long sentence"], "role": ["pos", "auditor"],
    "label": ["till"], "reason": ["counted"], "sold_at": ["2026-01-31T10:00:00Z"], "limit": [1, 2, 100],
    "expires_at": ["2099-12-31T00:00:00Z"], "state": ["PENDING", "PAID", "finalized"],
    "kind": ["sale", "refund"], "payment_method": [
        "pm_card_visa", "pm_card_visa_chargeDeclined", "pm_card_authenticationRequired", "pm_local_processing",
        "pm_card_refundFail", "pm_card_pendingRefund"],
    "decimals": [0, 2], "tier_drop": ["at_once", "at_period_end"],
    "scope": ["shop:buy"], "reference": ["A-1"], "amountINR": [1500.75, 1], "return_url": ["https://shop.example"],
    "url": [f"{NOWHERE}/webhooks"], "type": ["order.paid", "sale.recorded"], "enabled": [True],
}
# and those of what exists, by the name that the shop has for it
KNOWN = {
    "product_id": "product_id", "key_id": "key_id", "merchant": "merchant", "merchant_id": "merchant",
    "customer": "customer", "member": "member", "account_id": "account_id", "endpoint_id": "endpoint_id",
    "event_id": "event_id", "intent_id": "intent_id", "refund_id": "refund_id",
    "redemption_id": "redemption_id", "sale_id": "sale_id", "transaction_id": "sale_id", "refers_to": "till_order",
}
KINDS = ["succeeded", "payment_failed", "canceled", "processing", "requires_action", "amount_capturable_updated"]


def drawn_for(case):
    """Chance that is the same for the same request."""
    told = repr((SEED, case.method, case.path, case.path_parameters, case.query, case.body))
    return random.Random(hashlib.sha256(told.encode()).digest())


def good(name, path, chance):
    """A value that means something under this name; none where there is no such name."""
    if name == "order_id":
        fresh = path in ("/v1/sales", "/v1/sales:batch") and chance.random() < 0.8
        return f"A-{chance.getrandbits(64):x}" if fresh else chance.choice(shop.ids["order_id"])
    if name == "email":
        return chance.choice([shop.email, f"{chance.getrandbits(32)}@shop.example"])
    if name == "sku" and chance.random() < 0.8:
        return f"LAMP-{chance.getrandbits(32)}"
    known = shop.ids.get(KNOWN.get(name)) or GOOD.get(name)
    return chance.choice(known) if known else None


def improve(value, path, chance):
    """Replaces most values below whose names say what would mean something."""
    if isinstance(value, list):
        for inner in value:
            improve(inner, path, chance)
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        better = good(name, path, chance)
        if better is not None and not isinstance(inner, (dict, list)) and chance.random() < 0.9:
            value[name] = better
        else:
            improve(inner, path, chance)


def event(body, chance):
    """An event as the provider tells it, with something in it that it would never say."""
    told = json.loads(json.dumps(chance.choice(shop.events)))
    wrong = list(body.values()) if isinstance(body, dict) else []
    if wrong and chance.random() < 0.5:
        told[chance.choice(list(told))] = chance.choice(wrong)
    elif chance.random() < 0.5:
        told["amount_received"] = chance.choice([0, 1, told["amount"], 2**63 - 1])
    kind = f"payment_intent.{chance.choice(KINDS)}"
    return {"id": f"evt_{chance.getrandbits(64):x}", "object": "event", "type": kind,
            "created": int(time.time()), "livemode": False, "data": {"object": told}}


class Signed(requests.auth.AuthBase):
    """The provider's signature, over the bytes that are sent."""

    def __call__(self, request):
        at = str(int(time.time()))
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        mac = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256)
        request.headers["Stripe-Signature"] = f"t={at},v1={mac.hexdigest()}"
        return request


@schemathesis.hook
def before_load_schema(_, raw_schema):
    """An answer's objects have the fields that are described and no other."""
    whole = json.dumps(raw_schema)
    for name, schema in raw_schema["components"]["schemas"].items():
        # but for those that others are made of
        if "properties" in schema and f'"allOf": [{{"$ref": "#/components/schemas/{name}"' not in whole:
            schema.setdefault("additionalProperties", False)


def make_better(case, chance):
    """Makes a request one that means something."""
    path, headers = case.path, case.headers or {}
    for part in (case.path_parameters, case.query, case.body):
        improve(part, path, chance)
    if "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = f"{chance.getrandbits(64):x}"
        if isinstance(case.body, dict):
            case.body.pop("idempotency_key", None)
    if "If-Match" in headers:
        headers["If-Match"] = shop.version(case.formatted_path)
    if path in ("/v1/receipts/{sale_id}", "/v1/orders/{order_id}/proof"):
        sale, order, link = chance.choice(shop.receipts)
        case.path_parameters = {"sale_id": sale} if "{sale_id}" in path else {"order_id": order}
        case.query = {"merchant": shop.merchant, "link": link}
    if path.startswith("/v1/products") and CALLER == "nobody" and case.method == "GET":
        case.query = {**(case.query or {}), "merchant": shop.merchant}
    if path == "/v1/payments/webhook":
        case.body = event(case.body, chance)
    if isinstance(case.body, dict) and chance.random() < 0.8:
        if path in ("/v1/auth/refresh", "/v1/auth/logout"):
            case.body["refresh_token"] = shop.throwaway()[1]["tokens"]["refresh_token"]
        elif path == "/v1/auth/password/reset":
            case.body["token"] = shop.reset_token()
        elif path in ("/v1/auth/wallet/login", "/v1/me/wallet"):
            case.body |= shop.signed_message(chance)


@schemathesis.hook
def before_call(_, case, kwargs):
    """Says who calls, and makes half of the requests better."""
    chance = drawn_for(case)
    if chance.random() < 0.5:
        make_better(case, chance)
    if case.path == "/v1/payments/webhook" and chance.random() < 0.9:
        kwargs["auth"] = Signed()
    case.headers = case.headers or {}
    # what all others are tried with stays: another of its kind has to do
    for name, known in (case.path_parameters or {}).items():
        if CALLER == "admin" and case.method == "DELETE" and known in [OWN_KEY, *shop.ids.get(name, [])]:
            case.path_parameters[name] = shop.fresh(name, known)
    # nobody else's server is to be told of anything
    if "webhook_endpoints" in case.path and isinstance(case.body, dict) and "://" in str(case.body.get("url")):
        case.body["url"] = GOOD["url"][0]
    if case.path.startswith("/v1/auth/"):
        case.headers["Connection"] = "close"  # the next is from another address
    if CALLER == "admin":
        case.headers["Authorization"] = f"Bearer {shop.key}"
    elif CALLER == "customer":
        # what ends sessions ends those of an account of its own
        mine = not case.path.startswith("/v1/me/")
        own = token() if mine else shop.throwaway()[1]["tokens"]["access_token"]
        case.headers["Authorization"] = f"Bearer {own}"
    elif CALLER in KEYS:
        case.headers["Authorization"] = f"Bearer {KEYS[CALLER]}"


@schemathesis.hook
def after_call(_, case, response):
    """Counts what was answered."""
    with lock:
        answered[f"{case.operation.method.upper()} {case.operation.path}"][response.status_code] += 1


def tell():
    """What was answered, by route."""
    for route, statuses in sorted(answered.items()):
        print(f"{route:<60}", " ".join(f"{status}:{times}" for status, times in sorted(statuses.items())))


def token():
    """The customer's access token, or a new customer's before it ends."""
    global renewed
    with lock:
        if time.monotonic() - renewed > TOKEN_SECONDS:
            shop.register()
            renewed = time.monotonic()
        return shop.token


def connect_from_anywhere(address, *args, **kwargs):
    """A connection from another address each time."""
    return plain_connection(address, *args, **kwargs | {"source_address": anywhere()})


plain_connection = connection.create_connection
connection.create_connection = connect_from_anywhere
