//! The addresses that a followed name has had since a time, until two resolvings agree.

use crate::{columns::RowRef, error::StateError, tx::Store};
use eg_model::{ids::SessionId, net::address::IpVersion, session::sighting::Sighting};
use rusqlite::{Row, params};
use std::collections::BTreeMap;

impl Store {
    /// The sightings of a session, one at most for each family.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn sightings(&self, session: SessionId) -> Result<BTreeMap<IpVersion, Sighting>, StateError> {
        let id = session.to_string();
        let read = |row: &Row<'_>| {
            let row = RowRef::new("sightings", &id, row);
            let sighting = Sighting { address: row.parse("address")?, since: row.time("since")? };
            Ok((IpVersion::of(sighting.address), sighting))
        };
        self.read(|connection| {
            let sql = "SELECT address, since FROM sightings WHERE session = ?1";
            Ok(self.damaged.rows(connection, "sightings", sql, params![id], read)?.into_iter().collect())
        })
    }

    /// Replaces the sightings of a session.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn keep_sightings(
        &mut self,
        session: SessionId,
        sightings: &BTreeMap<IpVersion, Sighting>,
    ) -> Result<(), StateError> {
        let id = session.to_string();
        self.write(|change| {
            change.tx.execute("DELETE FROM sightings WHERE session = ?1", [&id])?;
            let sql = "INSERT INTO sightings (session, family, address, since) VALUES (?1, ?2, ?3, ?4)";
            for (version, Sighting { address, since }) in sightings {
                change.tx.execute(sql, params![id, version.number(), address.to_string(), since.timestamp()])?;
            }
            Ok(())
        })
    }
}
