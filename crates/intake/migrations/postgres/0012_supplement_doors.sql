-- Whether an addition came by the receipt, or by the name of the report from who sent that.
ALTER TABLE supplements ADD COLUMN by_receipt BIGINT NOT NULL DEFAULT 1;
