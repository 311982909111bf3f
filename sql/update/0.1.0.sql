-- What tables need to become those of 0.2.0; all else is taken from sql/schema.

-- Late aggregates of keyed pipelines are filled in steps.
ALTER TABLE millrace.aggregate ADD COLUMN filled_part jsonb;
