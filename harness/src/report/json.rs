//! `report.json`, and its schema.

use super::Run;

/// The run as JSON, in the order of its fields.
pub fn json(run: &Run) -> String {
    to_text(run)
}

/// The JSON schema of `report.json`, as published in `harness/schema/report-v1.schema.json`.
///
/// ```
/// assert!(reachmap::report::schema().contains("\"title\": \"Run\""));
/// ```
pub fn schema() -> String {
    schema_of::<Run>()
}

/// The schema of what is written of a `T`.
pub(super) fn schema_of<T: schemars::JsonSchema>() -> String {
    // What is written is what the schema is about: a reader must be able to rely on every field.
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    to_text(&settings.into_generator().into_root_schema_for::<T>())
}

#[expect(clippy::expect_used, reason = "strings as keys and finite numbers only: nothing here can fail to be JSON")]
fn to_text(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("reports are always JSON");
    text.push('\n');
    text
}
