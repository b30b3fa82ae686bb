//! Stored rows, one value at a time replaced by something else: an error or another value, never a panic, and never a
//! status that nobody wrote.

use super::eg_here::Machine;
use eg_sandbox::{Config, HandClock, Sandbox};
use rusqlite::{Connection, types::Value};

const STATUSES: [&str; 7] = ["PENDING", "ACTIVE", "PARTIAL", "FAILED", "EXPIRING", "CANCELLED", "EXPIRED"];

/// Every column of every table.
fn columns(record: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c \
               WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'events' ORDER BY 1, 2";
    let mut query = record.prepare(sql).unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(|row| row.unwrap()).collect()
}

#[test]
fn every_value_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let clock = HandClock::at(chrono::DateTime::from_timestamp(1_900_000_000, 0).unwrap());
    let region = Sandbox::start(Config::new(1, clock.clock())).unwrap();
    let group = region.create_group_in("200000000001", "eu-west-1", "api").unwrap();
    let config = format!(
        "[[resource]]\nname = \"api\"\nid = \"{group}\"\nregion = \"eu-west-1\"\nprofile = \"sandbox\"\nports = [\"tcp/22\"]\n\
         [aws.cloud_expiry]\nrole_arn = \"arn:aws:iam::200000000001:role/eg-cloud-expiry\"\n"
    );
    let mut machine = Machine::new(dir.path(), "alice", 1, &clock, &region.endpoint(), &config);
    let started = machine.eg(&["session", "start", "--ipv4", "203.0.113.42", "--duration", "1h"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    let whole = dir.path().join("whole.db");
    Connection::open(machine.state()).unwrap().execute("VACUUM INTO ?1", [whole.to_str().unwrap()]).unwrap();

    let values =
        ["", "x", "NULL", "-1", "é\u{1F600}", "{}", "[]", "2030-01-01"].map(|text| Value::Text(text.to_owned()));
    let numbers = [0, -1, i64::MAX, i64::MIN].map(Value::Integer);
    let values: Vec<Value> = values.into_iter().chain(numbers).chain([Value::Null]).collect();
    let (mut tried, mut refused) = (0, 0);
    for (table, column) in columns(&Connection::open(&whole).unwrap()) {
        for value in &values {
            for file in ["", "-wal", "-shm"] {
                let mut path = machine.state().into_os_string();
                path.push(file);
                std::fs::remove_file(path).ok();
            }
            std::fs::copy(&whole, machine.state()).unwrap();
            let record = Connection::open(machine.state()).unwrap();
            record.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF").unwrap();
            if record.execute(&format!("UPDATE \"{table}\" SET \"{column}\" = ?1"), [value]).is_err() {
                continue;
            }
            drop(record);
            tried += 1;
            let list = machine.eg(&["--output", "json", "session", "list", "--limit", "0"]);
            let what = format!("{table}.{column} = {value:?}: {list:?}");
            match list.code {
                Some(0) => {
                    let sessions: serde_json::Value = serde_json::from_str(&list.out).unwrap();
                    for session in sessions.as_array().unwrap() {
                        assert!(STATUSES.iter().any(|status| session["status"] == *status), "{what}");
                    }
                    let status = (table.as_str(), column.as_str()) == ("sessions", "status");
                    assert!(!status, "no such status: {what}");
                }
                Some(1) => refused += 1,
                other => panic!("exit status {other:?}: {what}"),
            }
            let pass = machine.eg(&["reconcile"]);
            assert!(matches!(pass.code, Some(0 | 1 | 3)), "{table}.{column} = {value:?}: {pass:?}");
        }
    }
    eprintln!("{tried} replaced values, {refused} of them refused by list");
    assert!(tried > 200 && refused > 20, "{tried} tried, {refused} refused");
}
