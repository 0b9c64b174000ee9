"""A shop with something in each of its parts, so that a made-up request can be about what exists."""

import email
import http.client
import json
import os
import pathlib
import random
import sys
import time
import urllib.parse
import uuid

ADDRESS = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
PASSWORD = "a long sentence is best"
# nothing listens there, so what is told stays due
NOWHERE = "http://127.0.0.1:9"
# development accounts of the local chain, which signs with them when it is asked to
WALLETS = ["0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", "0x90F79bf6EB2c4f870365E785982E1f101E93b906"]


def anywhere():
    """An address to call from. Tries to sign in are counted by it, and a single one would be refused after a
    hundred; Linux alone has more than one on a machine by itself. It is not drawn from the seed."""
    last = random.SystemRandom().getrandbits(22) + 2 if sys.platform == "linux" else 1
    return (f"127.{last >> 16 & 255}.{last >> 8 & 255}.{last & 255}", 0)


class Shop:
    """The installation of a ready file, and the ids of what was put into it."""

    def __init__(self, ready):
        with open(ready, encoding="utf-8") as file:
            ready = json.load(file)
        self.url, self.merchant, self.key = ready["api_url"], ready["merchant_id"], ready["api_key"]
        self.provider, self.provider_key = ready["payment_url"], ready["payment_key"]
        self.chain = ready["chains"][0]["rpc_url"]
        self.ids = {}

    def call(self, method, path, token, body=None, **headers):
        """The JSON that is answered."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers |= {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        address = urllib.parse.urlsplit(path if path.startswith("http") else self.url + path)
        query = f"?{address.query}" if address.query else ""
        connection = http.client.HTTPConnection(address.netloc, timeout=30, source_address=anywhere())
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, (address.path or "/") + query, data, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {text.decode()}")
        return json.loads(text or b"null")

    def fill(self):
        """Products with stock, a programme, sales and refunds, a key, and a customer's orders."""
        price = {"value": "249.00", "currency": "INR"}
        products = []
        for n in range(3):
            product = {"sku": f"LAMP-{uuid.uuid4()}", "name": f"Night light {n}", "price": price, "tax_rate": "18"}
            products.append(self.call("POST", "/v1/products", self.key, product)["id"])
            stock = {"quantity": 1_000_000, "reason": "first delivery"}
            self.call("POST", f"/v1/products/{products[-1]}/stock", self.key, stock)
        self.set_programme()
        sales = []
        for n in range(3):
            sale = {"order_id": f"A-{uuid.uuid4()}", "amount": price, "customer_address": ADDRESS}
            sales.append(self.call("POST", "/v1/sales", self.key, sale))
        self.receipts = [(it["sale_id"], it["order_id"], it["receipt_url"].split("link=")[1]) for it in sales]
        keys = [self.call("POST", "/v1/keys", self.key, {"role": "pos"})["id"] for _ in range(3)]
        self.ids |= {
            "product_id": products, "sale_id": [it["sale_id"] for it in sales], "key_id": keys,
            "till_order": [it["order_id"] for it in sales], "merchant": [self.merchant],
        }
        endpoints = []
        for n in range(3):
            endpoint = {"url": f"{NOWHERE}/{n}", "types": ["*"]}
            endpoints.append(self.call("POST", "/v1/webhook_endpoints", self.key, endpoint)["id"])
        self.ids["endpoint_id"] = endpoints
        self.register()
        events = self.call("GET", "/v1/events?limit=10", self.key)["data"]
        self.ids["event_id"] = [it["id"] for it in events]

    def set_programme(self):
        """Points for a rupee each, at once, and spent at a quarter."""
        self.call("PUT", "/v1/loyalty/programme", self.key, {
            "decimals": 0, "earn": [{"currency": "INR", "rate": "1"}], "pending_days": 0,
            "redeem": {"minimum": "1", "value": [{"currency": "INR", "value": "0.25"}]},
        }, If_Match=self.version("/v1/loyalty/programme"))

    def register(self):
        """A new customer with orders in several states, who calls from now on."""
        self.email, signed_in = self.throwaway()
        self.token = signed_in["tokens"]["access_token"]
        customer = signed_in["account"]["id"]
        points = {"member": customer, "points": "100000", "reason": "to be spent"}
        self.call("POST", "/v1/loyalty/adjustments", self.key, points)
        orders, intents = [], []
        for n in range(4):
            for product in self.ids["product_id"][: 1 + n % 2]:
                self.call("PUT", f"/v1/cart/items/{product}", self.token, {"quantity": 1 + n})
            order = self.call("POST", "/v1/checkout", self.token, {"customer_address": ADDRESS})
            orders.append(order["id"])
            intents.append(order["payment_intent"]["id"])
            if n < 2:
                pay = {"payment_method": "pm_card_visa"}
                self.call("POST", f"/v1/payment_intents/{intents[-1]}/confirm", self.token, pay)
        self.wait_for("PAID", orders[0])
        refund = self.call("POST", f"/v1/orders/{orders[0]}/refunds", self.key, {"reason": "broken"})
        for member in (customer, ADDRESS):
            redeemed = {"member": member, "points": "1"}
            redemption = self.call("POST", "/v1/loyalty/redemptions", self.key, redeemed)["id"]
            self.ids.setdefault("redemption_id", []).append(redemption)
        self.ids |= {
            "account_id": [customer], "customer": [customer], "member": [customer, ADDRESS],
            "order_id": orders, "intent_id": intents, "refund_id": [refund["id"]],
        }
        listed = self.call("GET", self.provider + "/v1/payment_intents?limit=10", self.provider_key)
        self.events = listed["data"]

    def throwaway(self):
        """An account that nothing else is tried with: its address, and what registering it answered."""
        address = f"{uuid.uuid4()}@shop.example"
        account = {"merchant_id": self.merchant, "email": address, "password": PASSWORD, "name": "Asha"}
        return address, self.call("POST", "/v1/auth/register", None, account)

    def fresh(self, name, known):
        """The id of one more of a kind that can be deleted; of what cannot, the known one."""
        try:
            if name == "account_id":
                return self.throwaway()[1]["account"]["id"]
            if name == "key_id":
                return self.call("POST", "/v1/keys", self.key, {"role": "pos"})["id"]
            if name == "endpoint_id":
                endpoint = {"url": f"{NOWHERE}/more", "types": ["*"]}
                return self.call("POST", "/v1/webhook_endpoints", self.key, endpoint)["id"]
        except RuntimeError:
            # there are as many as may be: one of ours has to go
            return self.ids[name][0]
        return known

    def reset_token(self):
        """The token of the mail that an account of its own was sent."""
        address, _ = self.throwaway()
        forgotten = {"merchant_id": self.merchant, "email": address}
        self.call("POST", "/v1/auth/password/forgotten", None, forgotten)
        for _ in range(100):
            for file in pathlib.Path(os.environ["FUZZ_DATA"], "mail").glob("*"):
                if file.suffix == ".unfinished":
                    continue
                mail = email.message_from_bytes(file.read_bytes())
                if address in mail["To"]:
                    file.unlink()
                    text = mail.get_payload(decode=True).decode()
                    return next(word for word in text.split() if word.startswith("cf_reset_"))
            time.sleep(0.1)
        raise RuntimeError(f"{address} got no mail within ten seconds")

    def signed_message(self, chance):
        """A sign-in message (EIP-4361) with its signature, by a wallet of the local chain."""
        nonce = self.call("POST", "/v1/auth/wallet/nonce", None, {"merchant_id": self.merchant})
        wallet, domain = chance.choice(WALLETS), nonce["domains"][0]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        message = (f"{domain} wants you to sign in with your Ethereum account:\n{wallet}\n\nSign in.\n\n"
                   f"URI: https://{domain}\nVersion: 1\nChain ID: {nonce['chain_ids'][0]}\n"
                   f"Nonce: {nonce['nonce']}\nIssued At: {now}")
        call = {"jsonrpc": "2.0", "id": 1, "method": "personal_sign",
                "params": ["0x" + message.encode().hex(), wallet]}
        return {"message": message, "signature": self.call("POST", self.chain, None, call)["result"]}

    def wait_for(self, state, order):
        """Until an order is in this state."""
        for _ in range(300):
            if self.call("GET", f"/v1/orders/{order}", self.key)["state"] == state:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{order} is not {state} after half a minute")

    def version(self, path):
        """The ETag of what is at this path; none where there is none."""
        try:
            # a path by chance may lead to something else
            return f'"{self.call("GET", path, self.key).get("version", 0)}"'
        except RuntimeError:
            return '"0"'


def webhook_secret():
    """What the provider signs its events with."""
    with open(os.path.join(os.environ["FUZZ_DATA"], "payments", "webhook-secret"), encoding="utf-8") as file:
        return file.read().strip()
