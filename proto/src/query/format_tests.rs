use super::*;
use crate::query::QueryFieldsResponse;
use serde_json::json;

fn time(seconds: f64) -> String {
    format!("T{seconds}")
}

fn response(resource: Resource, fields: &[&str], data: Vec<Vec<Cell>>) -> QueryResponse {
    let names: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
    QueryResponse { data, fields: QueryFieldsResponse::of(resource, Some(&names)).fields }
}

fn text(resource: Resource, response: &QueryResponse, options: &TableOptions<'_>) -> String {
    let mut out = String::new();
    write_response(&mut out, resource, response, options);
    out
}

fn cell(kind: FieldKind, value: Value, options: &TableOptions<'_>) -> String {
    let mut out = String::new();
    write_cell(&mut out, &Cell::new(value), kind, CellStyle::Kind, options);
    out
}

#[test]
fn an_instance_list() {
    let answer = response(
        Resource::Instance,
        &["name", "status", "oper_ram", "admin_up", "tags", "nosuch"],
        vec![
            vec![
                Cell::new("web1"),
                Cell::new("running"),
                Cell::new(512),
                Cell::new(true),
                Cell::list(["a", "b"]),
                Cell::UNKNOWN,
            ],
            vec![
                Cell::new("longer"),
                Cell::OFFLINE,
                Cell::UNAVAILABLE,
                Cell::new(false),
                Cell::list(Vec::<String>::new()),
                Cell::UNKNOWN,
            ],
        ],
    );
    let mut options = TableOptions::new(&time);
    assert_eq!(
        text(Resource::Instance, &answer, &options),
        "Instance Status  Memory Autostart Tags nosuch\n\
         web1     running   512M Y         a,b  ??\n\
         longer   *            - N              ??\n"
    );
    options.verbose = true;
    options.headers = false;
    assert_eq!(
        text(Resource::Instance, &answer, &options),
        "web1   running        512M Y a,b (unknown)\n\
         longer (offline) (unavail) N     (unknown)\n"
    );
    options.verbose = false;
    options.separator = Some(":");
    assert_eq!(
        text(Resource::Instance, &answer, &options),
        "web1:running:512:Y:a,b:??\nlonger:*:-:N::??\n"
    );
    assert_eq!(
        unknown_fields_warning(&answer.fields).as_deref(),
        Some("Warning: Queried for unknown fields nosuch")
    );
    assert_eq!(unknown_fields_warning(&answer.fields[..2]), None);
}

#[test]
fn values_by_kind() {
    let mut options = TableOptions::new(&time);
    assert_eq!(cell(FieldKind::Timestamp, json!(1.5), &options), "T1.5");
    assert_eq!(cell(FieldKind::Timestamp, json!(null), &options), "N/A");
    assert_eq!(cell(FieldKind::Other, json!({"a": [null, true]}), &options), "{'a': [None, True]}");
    assert_eq!(cell(FieldKind::Text, json!("it's"), &options), "it's");
    assert_eq!(cell(FieldKind::Float, json!(1.0), &options), "1.0");
    assert_eq!(cell(FieldKind::Unit, json!(2048), &options), "2.0G");
    options.separator = Some("");
    assert_eq!(cell(FieldKind::Unit, json!(2048), &options), "2048");
    options.units = Some(SizeUnit::Tebi);
    assert_eq!(cell(FieldKind::Unit, json!(1 << 20), &options), "1.0");
}

#[test]
fn structures_of_other_commands() {
    let options = TableOptions::new(&time);
    let print = |resource, field: &str, value: Value| {
        let mut out = String::new();
        let style = style_of(resource, field);
        write_cell(&mut out, &Cell::new(value), FieldKind::Other, style, &options);
        out
    };
    let (group, job, lock) = (Resource::Group, Resource::Job, Resource::Lock);
    assert_eq!(print(group, "ndparams", json!({})), "(empty)");
    assert_eq!(
        print(group, "ndparams", json!({"ovs": false, "ssh_port": 22})),
        "ovs=False, ssh_port=22"
    );
    assert_eq!(print(job, "summary", json!(["A(x)", "B"])), "A(x),B");
    assert_eq!(print(job, "opend", json!([[5, 12], null])), "['T5.000012', '?']");
    assert_eq!(print(job, "received_ts", json!([5, 12])), "[5, 12]");
    assert_eq!(
        print(
            Resource::Network,
            "group_list",
            json!([["g", "bridged", "br0", ""], ["h", "routed", "x", "5"]])
        ),
        "g (bridged, br0, ), h (routed, x, 5)"
    );
    assert_eq!(print(lock, "mode", json!(null)), "-");
    assert_eq!(print(lock, "mode", json!("shared")), "shared");
    assert_eq!(print(lock, "owner", json!([])), "-");
    assert_eq!(print(lock, "owner", json!([3, 4])), "3,4");
    assert_eq!(
        print(lock, "pending", json!([["shared", [1, 2]], ["exclusive", [7]]])),
        "shared:1,2 exclusive:7"
    );
    assert_eq!(print(Resource::Instance, "nic.ips", json!(["1.2.3.4", null])), "1.2.3.4,None");
}

#[test]
fn short_rows_do_not_shift_the_table() {
    let answer = response(
        Resource::Node,
        &["name", "role"],
        vec![vec![Cell::new("a")], vec![Cell::new("b"), Cell::new("M")]],
    );
    let options = TableOptions::new(&time);
    assert_eq!(text(Resource::Node, &answer, &options), "Node Role\na    ?\nb    M\n");
}

#[test]
fn a_list_of_fields() {
    let names = ["id".to_owned(), "nosuch".to_owned()];
    let fields = QueryFieldsResponse::of(Resource::Job, Some(&names)).fields;
    let mut out = String::new();
    write_fields(&mut out, &fields, true, None);
    assert_eq!(
        out,
        "Name   Type    Title  Description\n\
         id     Number  ID     Job number\n\
         nosuch Unknown nosuch Unknown field 'nosuch'\n"
    );
    assert!(QueryFieldsResponse::of(Resource::Job, None).fields.len() >= 16);
}
