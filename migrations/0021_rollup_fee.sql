-- What a rollup asks for beside the gas: its data on the chain below. The OP Stack's receipts say it as l1Fee.
alter table anchor_attempt add column rollup_fee numeric(39);
comment on column anchor_attempt.rollup_fee is 'wei, on top of gas_used times gas_price; null where the chain asks for none';
