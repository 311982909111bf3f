-- Credentials for the lake, kept as Postgres keeps them: servers say where and how, user mappings say who.

CREATE FUNCTION millrace.fdw_validator(options text[], catalog oid)
RETURNS void LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'fdw_validator_wrapper';
COMMENT ON FUNCTION millrace.fdw_validator(text[], oid) IS
'Checks the options of servers and user mappings of foreign data wrapper millrace. Postgres calls it. options: as name=value. catalog: pg_foreign_server or pg_user_mapping.
Server: location (serves every location that begins with it; the longest wins), account_name, endpoint, authority_host, identity_endpoint,
use_emulator, region, virtual_hosted_style, allow_http, proxy_url, ca_certificate (PEM), anonymous. User mapping, one of: account_key; sas_token; client_id, client_secret
and tenant_id; client_id, federated_token_file and tenant_id; use_managed_identity (with client_id, where there are several); access_key_id and
secret_access_key (with session_token, where there is one); service_account_key; anonymous.';

CREATE FOREIGN DATA WRAPPER millrace NO HANDLER VALIDATOR millrace.fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER millrace IS
'Places in the lake. CREATE SERVER … OPTIONS (location ''abfss://container@account.dfs.core.windows.net/''), then CREATE USER MAPPING
FOR a pipeline''s owner (or PUBLIC) with its credentials.';
GRANT USAGE ON FOREIGN DATA WRAPPER millrace TO millrace_admin;
