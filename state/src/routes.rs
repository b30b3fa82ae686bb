//! The table `routes`: each way to a firewall stands there once, and grants, leases and auto-closes refer to it. A row
//! never changes: a route that has learnt its account is another route.

use crate::{columns::RowRef, error::StateError};
use eg_model::target::{OtherServices, Route, Target, TargetKey};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The columns that [`read_target`] reads, of the joined tables.
macro_rules! target_columns {
    () => {
        "t.provider, t.kind, t.endpoint, t.region, t.name, o.id AS route, o.account, o.partition, o.profile, \
         o.role_arn, o.external_id, o.config_file, o.credentials_file, o.services_endpoint"
    };
}
/// Joins a row `r` with its target and its route. LEFT, because a row whose target or route is gone may be an open rule:
/// it is damaged, not absent.
macro_rules! target_joins {
    () => {
        " LEFT JOIN targets t ON t.id = r.target LEFT JOIN routes o ON o.id = r.route "
    };
}
/// Every column of a route, as the unique index has them; NULLs are distinct in a plain one.
macro_rules! route_key {
    () => {
        "json_array(account, partition, profile, role_arn, external_id, config_file, credentials_file, \
         services_endpoint)"
    };
}
pub(crate) use {route_key, target_columns, target_joins};

/// Reads the columns of [`target_columns`].
pub(crate) fn read_target(row: &RowRef<'_, '_>) -> Result<Target, StateError> {
    if row.get::<Option<i64>>("route")?.is_none() {
        return Err(row.bad("route", "it is missing"));
    }
    Ok(Target { key: read_key(row)?, route: read_route(row)? })
}

pub(crate) fn read_key(row: &RowRef<'_, '_>) -> Result<TargetKey, StateError> {
    Ok(TargetKey {
        provider: row.get("provider")?,
        kind: row.get("kind")?,
        endpoint: row.get("endpoint")?,
        region: row.get("region")?,
        id: row.get("name")?,
    })
}

fn read_route(row: &RowRef<'_, '_>) -> Result<Route, StateError> {
    Ok(Route {
        account: row.get("account")?,
        partition: row.get("partition")?,
        profile: row.get("profile")?,
        role_arn: row.get("role_arn")?,
        external_id: row.get("external_id")?,
        config_file: row.get("config_file")?,
        credentials_file: row.get("credentials_file")?,
        other_services: match row.get::<Option<String>>("services_endpoint")? {
            None => OtherServices::WithTarget,
            Some(none) if none.is_empty() => OtherServices::ByThemselves,
            Some(endpoint) => OtherServices::At(endpoint),
        },
    })
}

/// The row of a route, made where it is missing.
pub(crate) fn row_of(connection: &Connection, route: &Route) -> Result<i64, StateError> {
    let services = match &route.other_services {
        OtherServices::WithTarget => None,
        OtherServices::ByThemselves => Some(""),
        OtherServices::At(endpoint) => Some(endpoint.as_str()),
    };
    let values = params![
        route.account,
        route.partition,
        route.profile,
        route.role_arn,
        route.external_id,
        route.config_file,
        route.credentials_file,
        services,
    ];
    let sql = concat!("SELECT id FROM routes WHERE ", route_key!(), " = json_array(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    if let Some(known) = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()? {
        return Ok(known);
    }
    let sql = "INSERT INTO routes (account, partition, profile, role_arn, external_id, config_file, \
               credentials_file, services_endpoint) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(connection.last_insert_rowid())
}

/// The row of a route like that of row `id`, with account and partition filled in where they are absent.
pub(crate) fn learn(
    connection: &Connection,
    id: i64,
    account: Option<&str>,
    partition: Option<&str>,
) -> Result<i64, StateError> {
    let read = |row: &Row<'_>| Ok(read_route(&RowRef::new("routes", id, row)));
    let mut statement = connection.prepare_cached("SELECT * FROM routes WHERE id = ?1")?;
    let mut route = statement.query_row([id], read)??;
    route.account = route.account.or_else(|| account.map(str::to_owned));
    route.partition = route.partition.or_else(|| partition.map(str::to_owned));
    row_of(connection, &route)
}

/// The tables that refer to routes, each with the condition of the rows that are not over.
pub(crate) const USERS: [(&str, &str); 3] =
    [("grants", "status <> 'REMOVED'"), ("leases", "phase <> 'closed'"), ("auto_closes", "true")];

/// Forgets the routes that nothing refers to.
pub(crate) fn prune(connection: &Connection) -> Result<(), StateError> {
    let unused =
        USERS.map(|(table, _)| format!("NOT EXISTS (SELECT 1 FROM {table} WHERE route = routes.id)")).join(" AND ");
    connection.execute(&format!("DELETE FROM routes WHERE {unused}"), [])?;
    Ok(())
}
