-- What pg_dump takes along: everything that says what is defined and how far it has got. Sequences need their own call.
SELECT pg_catalog.pg_extension_config_dump('millrace.pipeline', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.pipeline_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.home', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.position', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.chunk', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.file', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.held_back', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.expectation', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.expectation_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.expectation_result', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.aggregate', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.aggregate_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.layer', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.publication', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.consumer', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.consumer_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.delivery', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.dead_part', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.stream_grant', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.rejected_row', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.backfill', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.backfill_cursor', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.duration', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.event', '');
SELECT pg_catalog.pg_extension_config_dump('millrace.event_id_seq', '');

SELECT millrace.wake_workers();
