//! Foreign servers and user mappings of wrapper millrace: who is who in the lake.
//!
//! Promises: a location is served by the server whose own location is its longest beginning, with the user mapping of the role or
//! else that of PUBLIC, as Postgres looks them up; a role without USAGE on that server gets nothing. No message holds a secret.

use pgrx::pg_sys::Oid;
use serde::Deserialize;

use crate::lake::{Credentials, server_options};
use crate::model::{Code, Error, Location, Result};
use crate::pg::{spi, user};

// No Debug: it holds secrets.
#[derive(Deserialize)]
struct Server {
    name: String,
    usable: bool,
    options: Credentials,
    mapping: Option<Credentials>,
    /// There is a user mapping; one without options comes out of a dump by somebody who may not see them.
    mapped: bool,
    /// Who may have made the mapping: one's own each for himself, that of PUBLIC the server's owner.
    mapped_by: i64,
}

const SERVERS: &str = "SELECT s.srvname AS name, pg_catalog.has_server_privilege($1::oid, s.oid, 'USAGE') AS usable,
        COALESCE((SELECT pg_catalog.jsonb_object_agg(o.option_name, o.option_value)
                    FROM pg_catalog.pg_options_to_table(s.srvoptions) AS o), '{}') AS options,
        (SELECT pg_catalog.jsonb_object_agg(o.option_name, o.option_value)
           FROM pg_catalog.pg_options_to_table(m.umoptions) AS o) AS mapping, m.umuser IS NOT NULL AS mapped,
        (CASE WHEN m.umuser = 0 THEN s.srvowner ELSE $1::oid END)::bigint AS mapped_by
   FROM pg_catalog.pg_foreign_server AS s
   JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'millrace'
   LEFT JOIN LATERAL (SELECT u.umuser, u.umoptions FROM pg_catalog.pg_user_mapping AS u
                       WHERE u.umserver = s.oid AND u.umuser IN ($1::oid, 0) ORDER BY u.umuser = 0 LIMIT 1) AS m ON true";

/// What a role has to show at a location that is not local: the options of server and user mapping together.
pub fn credentials(role: u32, location: &Location) -> Result<Credentials> {
    let role = Oid::from(role);
    let servers: Vec<Server> = spi::read(SERVERS, vec![role.into()])?;
    let own = |server: &Server| server.options.get("location").cloned();
    let places: Vec<(Option<String>, &Server)> = servers.iter().map(|server| (own(server), server)).collect();
    let Some((_, server)) = server_options::serving(&places, |(place, _)| place.as_deref(), location) else {
        return Err(Error::new(Code::UndefinedObject, "no server serves the location")
            .detail(format!("location: {location}"))
            .hint("CREATE SERVER … FOREIGN DATA WRAPPER millrace OPTIONS (location '…') with a beginning of the location, then CREATE USER MAPPING."));
    };
    if !server.usable {
        return Err(Error::new(Code::Forbidden, format!("permission denied for foreign server {}", server.name))
            .detail(format!("It serves {location}; role \"{}\" may not use it.", user::name(role)))
            .hint(format!("GRANT USAGE ON FOREIGN SERVER \"{}\" TO \"{}\";", server.name, user::name(role))));
    }
    let mut given = server.options.clone();
    given.extend(server.mapping.clone().unwrap_or_default());
    if server_options::is_ambient(&given)
        && !user::has_role(Oid::from(u32::try_from(server.mapped_by).unwrap_or(0)), c"pg_read_server_files")
    {
        return Err(Error::new(Code::Forbidden, "permission denied to use the identity of the machine")
            .detail(format!("Server \"{}\", role \"{}\".", server.name, user::name(role)))
            .hint("federated_token_file and use_managed_identity are for members of pg_read_server_files, or in a user mapping for PUBLIC on a server that one of them owns."));
    }
    if server.mapping.is_none() && !server_options::needs_no_mapping(&given) {
        let (role, name) = (user::name(role), &server.name);
        let (lacks, to_do) = if server.mapped {
            (format!("has a user mapping without credentials for role \"{role}\""), "ALTER")
        } else {
            (format!("has no user mapping for role \"{role}\""), "CREATE")
        };
        return Err(Error::new(Code::UndefinedObject, format!("server \"{name}\" {lacks}"))
            .detail(format!("location: {location}"))
            .hint(format!("{to_do} USER MAPPING FOR \"{role}\" SERVER \"{name}\" OPTIONS (account_key '…');")));
    }
    Ok(given)
}
