use super::*;
use crate::query::compiled::Condition;
use crate::query::fields::{InstanceField, JobField, NodeField};
use crate::query::parse::parse;
use serde_json::{Value, json};
use std::cell::RefCell;

struct Vm {
    name: String,
    ram: Cell,
}

impl Row for Vm {
    type Field = InstanceField;
    fn cell(&self, field: &InstanceField) -> Cell {
        match field {
            InstanceField::Name => Cell::new(self.name.as_str()),
            InstanceField::PrimaryNode => Cell::new("node1.example.com"),
            InstanceField::SecondaryNodes => Cell::list(["node2.example.com"]),
            InstanceField::OperRam => self.ram.clone(),
            InstanceField::AdminUp => Cell::new(true),
            InstanceField::BeVcpus => Cell::new(4),
            InstanceField::Ctime => Cell::new(1500.5),
            InstanceField::Tags => Cell::list(["a", "b"]),
            InstanceField::DiskSizes => Cell::list([1024, 2048]),
            InstanceField::NetworkPort => Cell::new(11000),
            InstanceField::Os => Cell::new(Value::Null),
            InstanceField::HvParam("acpi") => Cell::new(true),
            _ => Cell::UNAVAILABLE,
        }
    }
}

fn vm(name: &str) -> Vm {
    Vm { name: name.to_owned(), ram: Cell::NO_DATA }
}

fn prepare(text: &str) -> Result<Prepared<InstanceField>, FilterError> {
    Prepared::new(&["name"], Some(&parse(text).unwrap_or_else(|e| panic!("{e}"))))
}

fn passes(text: &str) -> Result<bool, FilterError> {
    prepare(text)?.matches(&vm("web1.example.com"))
}

#[test]
fn conditions_hold_or_not() {
    for (text, expected) in [
        ("name == 'web1.example.com'", true),
        ("name == 'web1'", true),
        ("name == 'WEB1.Example'", true),
        ("name == 'web'", false),
        ("name == ''", false),
        ("name != 'web1'", false),
        ("name != 'web2'", true),
        ("name < 'x'", true),
        ("pnode == 'node1' and not pnode == 'node2'", true),
        ("'node2' in snodes", true),
        ("'node' in snodes", false),
        ("'node3' not in snodes", true),
        ("name =~ /^WEB/", false),
        ("name =~ /^WEB/i", true),
        ("name !~ /db/", true),
        ("name =* 'w*'", true),
        ("name =* 'w*.com'", false),
        ("admin_up", true),
        ("not admin_up", false),
        ("hv/acpi", true),
        ("be/vcpus == 4", true),
        ("vcpus > 4", false),
        ("vcpus >= 4 and vcpus <= 4 and vcpus < 4.5 and vcpus != 4.5", true),
        ("ctime > 1500", true),
        ("ctime < 1500", false),
        ("network_port == 11000", true),
        ("'a' in tags and 'c' not in tags", true),
        ("2048 in disk.sizes", true),
        ("5 in disk.sizes", false),
        ("name == 'x' or (admin_up and name =~ #com$#)", true),
    ] {
        assert_eq!(passes(text), Ok(expected), "{text}");
    }
}

#[test]
fn no_data_never_hides_a_row() {
    for (text, expected) in [
        ("oper_ram == 5", true),
        ("not oper_ram == 5", true),
        ("oper_ram != 5", true),
        ("status =~ /x/", true),
        ("os == 'debian'", true),
        ("oper_ram == 5 and name == 'web2'", false),
        ("not (oper_ram == 5 or name == 'web1')", false),
        ("oper_ram == 5 or name == 'web2'", true),
    ] {
        assert_eq!(passes(text), Ok(expected), "{text}");
    }
}

#[test]
fn types_are_checked_before_any_row() {
    for (text, field) in [
        ("name == 5", "name"),
        ("be/vcpus == 'x'", "be/vcpus"),
        ("be/vcpus =~ /x/", "be/vcpus"),
        ("admin_up == 'x'", "admin_up"),
        ("'x' in name", "name"),
        ("name", "name"),
        ("vcpus == 'a' or vcpus == 'b' or vcpus == 'c' or vcpus == 'd'", "vcpus"),
    ] {
        match prepare(text) {
            Err(FilterError::WrongType { field: found, .. }) => assert_eq!(found, field, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(
        prepare("nosuch == 1").map(drop),
        Err(FilterError::UnknownField("nosuch".to_owned()))
    );
    assert_eq!(prepare("nosuch == 1").unwrap_err().to_string(), "Can't find field named 'nosuch'");
}

#[test]
fn types_of_structures_are_checked_by_row() {
    for text in ["tags", "tags == 'a'", "tags =~ /a/", "network_port =~ /1/", "1 in network_port"] {
        assert!(prepare(text).is_ok(), "{text}");
        assert!(matches!(passes(text), Err(FilterError::WrongType { .. })), "{text}");
    }
}

#[test]
fn bad_regular_expressions_are_refused() {
    let error = prepare("name =~ /a(/").unwrap_err().to_string();
    assert!(error.contains("'a('") && error.contains("unclosed group"), "{error}");
    assert!(prepare("name =~ /(\\w{1000}){1000}/").unwrap_err().to_string().contains("size limit"));
    let long = Filter::Matches("name".into(), "a".repeat(5000));
    assert!(Prepared::<InstanceField>::new(&["name"], Some(&long)).is_err());
    let many = Filter::Or(vec![Filter::Matches("name".into(), "a".into()); 201]);
    assert!(Prepared::<InstanceField>::new(&["name"], Some(&many)).is_err());
}

#[test]
fn many_names_are_a_set() {
    let names = |names: &[&str]| {
        let parts = names.iter().map(|n| Filter::equal("name", *n)).collect();
        Prepared::<InstanceField>::new(&["name"], Some(&Filter::Or(parts))).unwrap()
    };
    let row = vm("web1.example.com");
    for (list, expected) in [
        (&["a", "b", "c", "WEB1"][..], true),
        (&["a", "b", "c", "web1.example"], true),
        (&["a", "b", "c", "web1.example.com"], true),
        (&["a", "b", "c", "web", "", "example.com"], false),
    ] {
        assert!(matches!(names(list).filter.unwrap().root, Condition::OneOfHosts(..)));
        assert_eq!(names(list).matches(&row), Ok(expected), "{list:?}");
    }
    let numbers = |n: [i64; 4]| {
        let parts = n.iter().map(|n| Filter::equal("vcpus", *n)).collect();
        Prepared::<InstanceField>::new(&["name"], Some(&Filter::Or(parts))).unwrap().matches(&row)
    };
    assert_eq!(numbers([1, 2, 3, 4]), Ok(true));
    assert_eq!(numbers([1, 2, 3, 5]), Ok(false));
}

#[test]
fn job_times_compare_by_seconds() {
    struct Job;
    impl Row for Job {
        type Field = JobField;
        fn cell(&self, field: &JobField) -> Cell {
            match field {
                JobField::Id => Cell::new(17),
                JobField::ReceivedTs => Cell::new(json!([1000, 500_000])),
                JobField::Status => Cell::new("error"),
                _ => Cell::UNAVAILABLE,
            }
        }
    }
    let check = |text: &str| {
        Prepared::<JobField>::new(&["id"], Some(&parse(text).unwrap())).unwrap().matches(&Job)
    };
    assert_eq!(check("received_ts == 1000"), Ok(true));
    assert_eq!(check("received_ts > 1000"), Ok(false));
    assert_eq!(check("end_ts < 5"), Ok(true));
    assert_eq!(check("id == 17 and status == 'error'"), Ok(true));
    assert_eq!(check("status == 'err'"), Ok(false));
}

#[test]
fn rows_are_filtered_and_unknown_columns_kept() {
    let rows = [vm("a.x"), vm("b.x"), vm("c.x")];
    let filter = parse("name != 'b'").unwrap();
    let prepared = Prepared::new(&["name", "nosuch", "ip"], Some(&filter)).unwrap();
    assert!(!prepared.needs_live());
    let response = prepared.response(&rows).unwrap();
    assert_eq!(
        serde_json::to_value(&response).unwrap(),
        json!({
            "data": [
                [[0, "a.x"], [1, null], [3, null]],
                [[0, "c.x"], [1, null], [3, null]],
            ],
            "fields": [
                {"name": "name", "title": "Instance", "kind": "text", "doc": "Instance name"},
                {"name": "nosuch", "title": "nosuch", "kind": "unknown",
                 "doc": "Unknown field 'nosuch'"},
                {"name": "ip", "title": "NicIP/0", "kind": "text",
                 "doc": "IP address of network card 0"},
            ],
        })
    );
    assert_eq!(response.unknown_fields(), ["nosuch"]);
}

#[test]
fn live_fields_are_known_beforehand() {
    let live = |fields: &[&str], filter: Option<&str>| {
        let filter = filter.map(|f| parse(f).unwrap());
        Prepared::<NodeField>::new(fields, filter.as_ref()).unwrap().needs_live()
    };
    assert!(!live(&["name", "role"], Some("offline")));
    assert!(live(&["name", "mfree"], None));
    assert!(live(&["name"], Some("dfree < 5")));
    let prepared = prepare("oper_ram > 5 and name == 'web1'").unwrap();
    assert_eq!(prepared.filter_fields(), [InstanceField::OperRam, InstanceField::Name]);
    let running = |name: &str, ram: i64| Vm { name: name.into(), ram: Cell::new(ram) };
    assert_eq!(prepared.may_match(&running("web1.x", 1)), Ok(true));
    assert_eq!(prepared.may_match(&running("web2.x", 9)), Ok(false));
    assert_eq!(prepared.matches(&running("web1.x", 1)), Ok(false));
    assert_eq!(prepared.matches(&running("web1.x", 9)), Ok(true));
}

#[test]
fn names_can_be_anything_for_job_filters() {
    let filter = parse("OP_ID == 'OP_TEST_DELAY' and duration > 5 and 'x' in tags").unwrap();
    let compiled = Compiled::over_names(&filter).unwrap();
    let asked = RefCell::new(Vec::new());
    let op = json!({"OP_ID": "OP_TEST_DELAY", "duration": 6.5, "tags": ["x"]});
    let get = |name: &String| {
        asked.borrow_mut().push(name.clone());
        Cell::or_unavailable(op.get(name).cloned())
    };
    assert_eq!(compiled.passes(get), Ok(true));
    assert_eq!(*asked.borrow(), ["OP_ID", "duration", "tags"]);
    assert!(compiled.passes(|_| Cell::new(5)).is_err());
}

/// Not a benchmark, but a guard against anything that grows faster than the table.
#[test]
fn large_tables_are_quick() {
    let rows: Vec<Vm> = (0..20_000).map(|i| vm(&format!("vm{i}.example.com"))).collect();
    let columns = ["name", "pnode", "be/vcpus", "admin_up", "ctime", "oper_ram"];
    let all = Prepared::new(&columns, None).unwrap();
    assert_eq!(run(&rows, &all).unwrap().len(), 20_000);
    let named = (0..20_000).map(|i| Filter::equal("name", format!("vm{}", i * 2))).collect();
    let named = Prepared::new(&columns, Some(&Filter::Or(named))).unwrap();
    assert_eq!(run(&rows, &named).unwrap().len(), 10_000);
}
