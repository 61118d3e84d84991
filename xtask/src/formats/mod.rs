//! `cargo xtask docs-formats`: what `schemas/v1` says, written into the pages of `docs/formats`.
//!
//! A page is written by hand around blocks that begin with `<!-- schema: NAME -->`, `<!-- definitions -->` or
//! `<!-- index -->` and end with `<!-- end -->`; what stands between them comes from the schemas.

mod json;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use json::Json;
use table::Part;

/// The schema of definitions that the others share.
const COMMON: &str = "common";
const END: &str = "<!-- end -->";

/// Whether pages are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Write,
    Check,
}

/// All schemas by name, e.g. `runpack/manifest`, and on which page each is.
pub struct Schemas(BTreeMap<String, Json>, BTreeMap<String, String>);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Brings every page up to date, or says which ones are not.
///
/// # Errors
/// A page or schema can't be read, a marker means nothing, a schema is on no page or on two; in [`Mode::Check`]
/// also a page that is not up to date.
pub fn run(mode: Mode) -> Result<()> {
    let folder = root().join("docs/formats");
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".md") {
            pages.insert(stem.to_owned(), fs::read_to_string(&path)?);
        }
    }
    let schemas = Schemas::read(&pages)?;
    let mut stale = Vec::new();
    for (name, text) in &pages {
        let fresh = page(&schemas, text).with_context(|| format!("docs/formats/{name}.md"))?;
        if fresh != *text {
            stale.push(format!("docs/formats/{name}.md"));
            if mode == Mode::Write {
                fs::write(folder.join(format!("{name}.md")), fresh)?;
            }
        }
    }
    match mode {
        Mode::Write => println!("{} pages, {} changed", pages.len(), stale.len()),
        Mode::Check if stale.is_empty() => println!("{} pages are up to date", pages.len()),
        Mode::Check => bail!("not up to date, run `cargo xtask docs-formats`: {}", stale.join(", ")),
    }
    Ok(())
}

/// The page with fresh blocks.
fn page(schemas: &Schemas, text: &str) -> Result<String> {
    let mut fresh = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("<!-- ") {
        let (before, marked) = rest.split_at(start);
        let (marker, after) = marked.split_once(" -->").context("a marker without end")?;
        let words = marker.trim_start_matches("<!-- ");
        let block = match words.split_once(": ").unwrap_or((words, "")) {
            ("schema", name) => schemas.block(name)?,
            ("definitions", "") => schemas.definitions()?,
            ("index", "") => schemas.index()?,
            _ => bail!("`{words}` is no marker"),
        };
        let (_, after) = after.split_once(END).with_context(|| format!("`{words}` has no {END}"))?;
        fresh.push_str(&format!("{before}{marker} -->\n\n{}\n\n{END}", block.trim()));
        rest = after;
    }
    fresh.push_str(rest);
    Ok(fresh)
}

/// The names in `<!-- schema: NAME -->` markers of a page.
fn marked(page: &str) -> impl Iterator<Item = &str> {
    page.split("<!-- schema: ").skip(1).filter_map(|rest| rest.split(" -->").next())
}

fn read(path: &Path) -> Result<Json> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

impl Schemas {
    fn read(pages: &BTreeMap<String, String>) -> Result<Self> {
        let folder = root().join("schemas/v1");
        let mut schemas = BTreeMap::from([(COMMON.to_owned(), read(&folder.join("common.schema.json"))?)]);
        for group in fs::read_dir(&folder)? {
            let group = group?.path();
            let group_name = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !group.is_dir() || group_name == "examples" {
                continue;
            }
            for entry in fs::read_dir(&group)? {
                let path = entry?.path();
                let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let name = file.strip_suffix(".schema.json").with_context(|| format!("{file} is no schema"))?;
                schemas.insert(format!("{group_name}/{name}"), read(&path)?);
            }
        }
        let mut places = BTreeMap::from([(COMMON.to_owned(), COMMON.to_owned())]);
        for (page, text) in pages {
            for name in marked(text) {
                ensure!(schemas.contains_key(name), "docs/formats/{page}.md: there is no schema `{name}`");
                let twice = places.insert(name.to_owned(), page.clone());
                ensure!(twice.is_none(), "`{name}` is on two pages");
            }
        }
        let missing: Vec<&String> = schemas.keys().filter(|name| !places.contains_key(*name)).collect();
        ensure!(missing.is_empty(), "on no page of docs/formats: {missing:?}");
        Ok(Schemas(schemas, places))
    }

    fn get(&self, name: &str) -> Result<&Json> {
        self.0.get(name).with_context(|| format!("there is no schema `{name}`"))
    }

    /// A link to where `word`, of the schema `name`, is told about.
    fn link(&self, word: &str, name: &str) -> String {
        let page = self.1.get(name).map_or(COMMON, String::as_str);
        format!("[{word}]({page}.md#{})", word.replace('/', "").to_lowercase())
    }

    /// Everything about one schema: what it is, its members, an example.
    fn block(&self, name: &str) -> Result<String> {
        let schema = self.get(name)?;
        let part = Part { schemas: self, name, node: schema };
        let about = schema.text("description").unwrap_or_default();
        let file = format!("schemas/v1/{name}.schema.json");
        let mut block = format!("### {name}\n\n{about}\n\nSchema: [`{file}`](../../{file}).");
        if let Some(id) =
            schema.pointer("/properties/schema_id/const").or(schema.pointer("/$defs/open/properties/schema_id/const"))
        {
            block.push_str(&format!(" Its records say `\"schema_id\": {id}`."));
        }
        block.push_str(&format!("\n\n{}", part.table()));
        for (kind, line) in schema.get("$defs").map(Json::members).unwrap_or_default() {
            let about = line.text("description").unwrap_or_default();
            let table = Part { node: line, ..part }.table();
            block.push_str(&format!("\n#### {kind}\n\n{about}\n\n{table}"));
        }
        let example = format!("schemas/v1/examples/{name}.json");
        let text = fs::read_to_string(root().join(&example)).with_context(|| example.clone())?;
        let lines = match (schema.text("type"), serde_json::from_str(&text)?) {
            // Several examples: one line each, as they are in a file.
            (Some("object"), Json::List(lines)) => lines.iter().map(|line| format!("{line}\n")).collect(),
            _ => text,
        };
        block.push_str(&format!(
            "\nA record with every member it can have; its digests are made up.\n\n```json\n{}\n```",
            lines.trim_end()
        ));
        Ok(block)
    }

    /// The definitions that the schemas share.
    fn definitions(&self) -> Result<String> {
        let common = self.get(COMMON)?;
        let mut block = String::new();
        for (name, node) in common.get("$defs").map(Json::members).unwrap_or_default() {
            let part = Part { schemas: self, name: COMMON, node };
            let about = node.text("description").unwrap_or_default();
            let kind = part.kind();
            let kind = if kind == "object" { String::new() } else { format!(" Type: {kind}.") };
            block.push_str(&format!("### {name}\n\n{about}{kind}\n\n{}\n", part.table()));
        }
        Ok(block)
    }

    /// All schemas with their pages.
    fn index(&self) -> Result<String> {
        let mut block = String::from("| schema | page | what |\n|---|---|---|\n");
        for (name, schema) in &self.0 {
            let page = self.1.get(name).map_or(COMMON, String::as_str);
            let anchor = if name == COMMON { String::new() } else { format!("#{}", name.replace('/', "")) };
            let title = schema.text("title").unwrap_or_default();
            let file = format!("schemas/v1/{name}.schema.json");
            block.push_str(&format!("| [`{name}`](../../{file}) | [{page}]({page}.md{anchor}) | {title} |\n"));
        }
        Ok(block)
    }
}
