#!/usr/bin/env bash
# A first order, from registering to a receipt that is checked against a chain: what a new customer of a new
# shop does, one call after the other. It starts an installation of its own (`counterfoil dev`) and ends it.
#
#   docs/first-order.sh                    with the program in target/debug, or the one on PATH
#   COUNTERFOIL=/path/to/counterfoil docs/first-order.sh
#   docs/first-order.sh ready.json         against a `counterfoil dev` that runs already, by its ready file
#
# It needs curl and Node. Each line that begins with + is a call, as one would type it.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
counterfoil=${COUNTERFOIL:-$here/target/debug/counterfoil}
[ -x "$counterfoil" ] || counterfoil=$(command -v counterfoil) || {
    echo "first-order: build it first (cargo build), or name it: COUNTERFOIL=…" >&2
    exit 1
}
work=$(mktemp -d)
dev=
clean_up() {
    [ -z "$dev" ] || { kill -INT "$dev" 2>/dev/null && wait "$dev" || true; }
    rm -rf "$work"
}
trap clean_up EXIT

say() { printf '\n%s\n' "$*"; }

# pick FILE EXPRESSION: a value of a JSON document, which is called d in the expression
pick() { node -p "const d = JSON.parse(require('fs').readFileSync('$1', 'utf8')); $2"; }

# call METHOD PATH TOKEN [BODY [HEADER…]]: the answer is in $work/answer
call() {
    local method=$1 path=$2 token=$3 body=${4:-}
    shift $(($# < 4 ? $# : 4))
    local curl=(curl --silent --show-error --fail-with-body --output "$work/answer" --request "$method" "$api$path")
    [ -z "$token" ] || curl+=(--header "Authorization: Bearer $token")
    [ -z "$body" ] || curl+=(--header 'Content-Type: application/json' --data "$body")
    local header
    for header in "$@"; do curl+=(--header "$header"); done
    printf '+ %s %s %s\n' "$method" "$path" "$body"
    "${curl[@]}" || { cat "$work/answer" >&2; echo >&2; exit 1; }
}

# until_it_is SECONDS FUNCTION WHAT
until_it_is() {
    local end=$((SECONDS + $1))
    until "$2"; do
        [ $SECONDS -lt $end ] || { echo "first-order: not within $1 s: $3" >&2; cat "$work/answer" >&2; exit 1; }
        sleep 0.5
    done
}

ready=${1:-}
if [ -z "$ready" ]; then
    say "An installation of our own: Postgres, a chain, a payment provider and the engine"
    ready=$work/ready.json
    "$counterfoil" dev --data-dir "$work/data" --port 0 --interval 1s --ready-file "$ready" >"$work/log" 2>&1 &
    dev=$!
    is_ready() { [ -e "$ready" ] || { kill -0 "$dev" 2>/dev/null || { cat "$work/log" >&2; exit 1; }; false; }; }
    : >"$work/answer"
    until_it_is 120 is_ready "the installation is up"
fi
api=$(pick "$ready" d.api_url)
merchant=$(pick "$ready" d.merchant_id)
key=$(pick "$ready" d.api_key)
once() { printf 'Idempotency-Key: %s' "$(node -p 'crypto.randomUUID()')"; }

say "The shopkeeper puts a lamp into the catalogue, and five of them on the shelf"
call POST /v1/products "$key" '{"sku": "LAMP-'"$RANDOM$RANDOM"'", "name": "Night light", "price": {"value": "249.00", "currency": "INR"}, "tax_rate": "18"}'
lamp=$(pick "$work/answer" d.id)
call POST "/v1/products/$lamp/stock" "$key" '{"quantity": 5, "reason": "first delivery"}' "$(once)"

if [ -n "$dev" ]; then
    say "And rewards its customers: a point for each rupee, worth 10 paise"
    call PUT /v1/loyalty/programme "$key" '{"earn": [{"currency": "INR", "rate": "1"}], "redeem": {"value": [{"currency": "INR", "value": "0.10"}]}}' 'If-Match: "0"'
fi

say "A customer registers, and fills a cart"
call POST /v1/auth/register "" '{"merchant_id": "'"$merchant"'", "email": "asha.'"$RANDOM$RANDOM"'@shop.example", "password": "a long sentence is best"}'
token=$(pick "$work/answer" d.tokens.access_token)
call GET "/v1/products/$lamp" "$token"
call PUT "/v1/cart/items/$lamp" "$token" '{"quantity": 2}'
pick "$work/answer" '`  ${d.items[0].quantity} × ${d.items[0].name}: ${d.total.value} ${d.total.currency}, of which tax ${d.tax.value}`'

say "The customer orders: the lamps are held for 15 minutes"
call POST /v1/checkout "$token" '{}' "$(once)"
order=$(pick "$work/answer" d.id)
intent=$(pick "$work/answer" d.payment_intent.id)

say "The customer pays, with a test card of the local payment provider"
call POST "/v1/payment_intents/$intent/confirm" "$token" '{"payment_method": "pm_card_visa"}' "$(once)"
is_paid() { call GET "/v1/orders/$order" "$token" >/dev/null && [ "$(pick "$work/answer" d.state)" = PAID ]; }
until_it_is 30 is_paid "the order is PAID"
pick "$work/answer" '`  ${d.id} is ${d.state}; it is sale ${d.sale_id}`'
receipt=$(pick "$work/answer" d.receipt_url)
if [ -n "$dev" ]; then
    call GET /v1/loyalty/me "$token"
    pick "$work/answer" '`  ${d.available} points`'
    [ "$(pick "$work/answer" d.available)" = 498 ] || { echo "first-order: two lamps earn 498 points" >&2; exit 1; }
fi

say "The receipt, once the sale is anchored, by the address that a till would print"
is_final() {
    curl --silent --show-error --fail --output "$work/receipt.json" "$receipt" || return 1
    [ "$(pick "$work/receipt.json" '(d.anchors ?? []).some(a => a.state === "finalized")')" = true ]
}
until_it_is 90 is_final "the receipt is final"

say "And its proof, against the chain, with nothing but the file and a node"
registry=$(pick "$ready" '`eip155:${d.chains[0].chain_id}:${d.chains[0].registry}`')
rpc=$(pick "$ready" d.chains[0].rpc_url)
echo "+ counterfoil verify receipt.json --rpc $rpc --registry $registry --merchant $merchant"
"$counterfoil" verify "$work/receipt.json" --rpc "$rpc" --registry "$registry" --merchant "$merchant"

say "The customer bought two lamps, and can prove it to anybody"
