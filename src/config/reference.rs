//! The reference of the options as Markdown, from the keys, their defaults and what this version supports.

use super::defaults::defaults;
use super::environment::variables_of;
use super::key::Key;
use super::kind::Kind;
use super::schema::SECTION_SYNONYMS;
use super::sections;
use super::support::{Support, support};
use super::{tree, units};
use serde_json::Value;
use std::fmt::Write;

/// The whole reference.
pub fn reference() -> String {
    let mut page = String::from(
        "# Options\n\nGenerated from the keys in `src/config`. Durations are milliseconds or a string such as `'30s'`, \
         sizes bytes or a string such as `'512MB'`. Environment variables override code; `PORT` and `HOST` \
         apply only where code gives no value. Options that are not supported yet are refused at start.\n\n\
         ## createServer\n\nAlso: `cluster`, with `enabled` and a ClusterConfig in `config` or next to it.\n\n",
    );
    table(&mut page, sections::server::KEYS);
    for (title, lists) in sections::CLUSTER {
        let synonym = SECTION_SYNONYMS.iter().find(|(_, section)| section == title);
        let synonym = synonym.map(|(synonym, _)| format!(" ({synonym})")).unwrap_or_default();
        line(&mut page, format_args!("\n## {title}{synonym}\n"));
        table(&mut page, lists);
    }
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}

fn table(page: &mut String, lists: &[&[Key]]) {
    let defaults = defaults();
    line(page, format_args!("| key | synonyms | type | default | variable | meaning | supported |"));
    line(page, format_args!("| --- | --- | --- | --- | --- | --- | --- |"));
    for key in lists.iter().copied().flatten() {
        let variant = key.variant.iter().map(|(path, _)| *path);
        let cells = [
            format!("`{}`", key.path),
            list(key.synonyms.iter().copied().chain(variant)),
            key.kind.allowed(),
            tree::get(&defaults, key.path).map(|value| default(key, value)).unwrap_or_default(),
            list(variables_of(key.path)),
            key.meaning.to_owned(),
            supported(key),
        ];
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        line(page, format_args!("| {} |", cells.join(" | ")));
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn default(key: &Key, value: &Value) -> String {
    match (key.kind, value.as_u64()) {
        (Kind::Duration { .. }, Some(time)) if time > 0 => format!("{time} ({})", units::duration_text(time)),
        (Kind::Size { .. }, Some(size)) => format!("{size} ({})", units::size_text(size)),
        _ => format!("`{value}`"),
    }
}

fn supported(key: &Key) -> String {
    match support(key.path) {
        Support::Full => "yes".into(),
        Support::Only(_, values, _) => format!("`{values}` only"),
        Support::Lacks(_) if key.path.ends_with(".enabled") => "`false` only".into(),
        Support::Lacks(_) => "not yet".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_row_of_seven_cells_with_a_meaning() {
        let page = reference();
        for key in sections::all() {
            let start = format!("| `{}` |", key.path);
            let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&start)).collect();
            assert_eq!(rows.len(), 1, "{}", key.path);
            assert_eq!(rows[0].replace("\\|", "").matches('|').count(), 8, "{}", rows[0]);
            assert!(!key.meaning.is_empty(), "{}", key.path);
        }
    }

    #[test]
    fn the_reference_tells_defaults_with_their_units_and_variables() {
        let page = reference();
        let row =
            |key: &str| page.lines().find(|line| line.contains(&format!("`{key}`"))).unwrap_or_default();
        assert!(row("processManagement.restartDelay").contains("2000 (2s)"));
        assert!(row("processManagement.restartDelay").contains("`WORKER_RESTART_DELAY`"));
        assert!(row("resources.maxMemoryPerWorker").contains("`limits.memory`"));
        assert!(row("security.isolateWorkers").ends_with("not yet |"));
    }
}
