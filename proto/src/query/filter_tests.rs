use super::*;
use crate::query::parse::parse;
use proptest::prelude::*;

fn wire(text: &str) -> Value {
    parse(text).unwrap_or_else(|e| panic!("{e}")).to_json()
}

#[test]
fn text_becomes_ganetis_json() {
    for (text, expected) in [
        ("name == \"a\"", json!(["=", "name", "a"])),
        ("name='a'", json!(["=", "name", "a"])),
        ("x != -5", json!(["!=", "x", -5])),
        ("x<+3", json!(["<", "x", 3])),
        ("x >= 1.5", json!([">=", "x", 1.5])),
        ("'t' in tags", json!(["=[]", "tags", "t"])),
        ("5 not in list", json!(["!", ["=[]", "list", 5]])),
        ("name =~ m/^a\\d\\/b/si", json!(["=~", "name", "(?is)^a\\d/b"])),
        ("name =~ |a/b|", json!(["=~", "name", "a/b"])),
        ("name !~ #x#i", json!(["!", ["=~", "name", "(?i)x"]])),
        ("name =* \"w?b*.x\"", json!(["=~", "name", r"^w[^.]b[^.]*\.x(\..*)?$"])),
        ("name !* 'a'", json!(["!", ["=~", "name", r"^a(\..*)?$"]])),
        ("master_candidate", json!(["?", "master_candidate"])),
        ("not offline", json!(["!", ["?", "offline"]])),
        ("a or b and c", json!(["|", ["?", "a"], ["&", ["?", "b"], ["?", "c"]]])),
        ("(a or b) and not c", json!(["&", ["|", ["?", "a"], ["?", "b"]], ["!", ["?", "c"]]])),
        ("a and b and c", json!(["&", ["?", "a"], ["?", "b"], ["?", "c"]])),
        (
            "be/vcpus>1 and disk.size/0<5",
            json!(["&", [">", "be/vcpus", 1], ["<", "disk.size/0", 5]]),
        ),
        ("not(a)", json!(["!", ["?", "a"]])),
        ("organ and notes", json!(["&", ["?", "organ"], ["?", "notes"]])),
        (r#"x == "a\"b\\c""#, json!(["=", "x", "a\"b\\c"])),
    ] {
        assert_eq!(wire(text), expected, "{text}");
    }
}

#[test]
fn errors_point_at_the_place() {
    for (text, column, message) in [
        ("", 1, "expected a field name"),
        ("name ==", 8, "expected a number or a quoted string"),
        ("name == foo", 9, "expected a number or a quoted string"),
        ("name == \"foo", 9, "not closed with \""),
        ("(a or b", 8, "expected ')'"),
        ("a b", 3, "expected 'and', 'or' or the end"),
        ("a and", 6, "expected a field name"),
        ("a and or", 7, "before 'or'"),
        ("x =~ foo", 6, "expected a regular expression"),
        ("x =~ /foo", 6, "not closed with /"),
        ("x =~ /foo/x", 11, "unknown flag"),
        ("5 == x", 3, "expected 'in'"),
        ("x == 99999999999999999999", 6, "too large"),
        ("ä", 1, "expected a field name"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
    let error = parse("a and\n  é == 'x' b").expect_err("two lines");
    assert_eq!(error.marker(), "  é == 'x' b\n  ^");
    assert_eq!(
        parse("name ==").expect_err("no value").to_string(),
        "Error while parsing query filter: expected a number or a quoted string\nname ==\n       ^"
    );
}

#[test]
fn old_spellings_and_booleans_are_read() {
    let read = |value: Value| Filter::from_json(&value).unwrap();
    assert_eq!(read(json!(["==", "f", "v"])), Filter::equal("f", "v"));
    assert_eq!(read(json!(["=", "f", true])), Filter::True("f".into()));
    assert_eq!(read(json!(["!=", "f", true])), Filter::True("f".into()).negated());
    assert_eq!(read(json!(["|"])), Filter::Or(vec![]));
    assert_eq!(Filter::from_json_optional(&Value::Null), Ok(None));
}

#[test]
fn wrong_json_is_refused() {
    for (value, why) in [
        (json!("x"), "where a list is expected"),
        (json!([]), "begin with an operator"),
        (json!([1, 2]), "begin with an operator"),
        (json!(["^", "a", "b"]), "unknown operator"),
        (json!(["=", "a"]), "takes 2 arguments, not 1"),
        (json!(["!", ["?", "a"], ["?", "b"]]), "takes 1 arguments, not 2"),
        (json!(["=", "a", null]), "must be a string or a number"),
        (json!(["<", "a", true]), "must be a string or a number"),
        (json!(["=~", "a", 1]), "must be a string"),
        (json!(["?", 1]), "field name"),
        (json!(["&", "x"]), "where a list is expected"),
    ] {
        let error = Filter::from_json(&value).expect_err("wrong").to_string();
        assert!(error.contains(why), "{value}: {error}");
    }
}

#[test]
fn depth_is_limited() {
    let mut value = json!(["?", "a"]);
    for _ in 0..MAX_DEPTH {
        value = json!(["!", value]);
    }
    assert!(Filter::from_json(&value).unwrap_err().to_string().contains("nested"));
    for text in ["(".repeat(100_000), "not ".repeat(100_000)] {
        assert!(parse(&text).unwrap_err().message.contains("nested"));
    }
    let deepest = format!("{}a and a{}", "(a or ".repeat(20), ")".repeat(20));
    let filter = parse(&deepest).unwrap();
    assert_eq!(Filter::from_json(&filter.to_json()), Ok(filter));
}

#[test]
fn arguments_that_are_filters() {
    for (args, expected) in [
        (&["web1"][..], false),
        (&["web*"], false),
        (&["name == \"x\""], true),
        (&["a b"], true),
        (&["be/vcpus"], true),
        (&["a=1", "b"], false),
        (&[], false),
    ] {
        assert_eq!(looks_like_filter(args), expected, "{args:?}");
    }
}

#[test]
fn names_become_a_filter() {
    let none: [&str; 0] = [];
    assert_eq!(names_filter(&none, "name", false), Ok(None));
    let filter = names_filter(&["a", "b*"], "name", false).unwrap().unwrap();
    assert_eq!(
        filter.to_json(),
        json!(["|", ["=", "name", "a"], ["=~", "name", r"^b[^.]*(\..*)?$"]])
    );
    assert_eq!(filter.requested_names("name"), None);
    let filter = names_filter(&["12", "7"], "id", true).unwrap().unwrap();
    assert_eq!(filter.to_json(), json!(["|", ["=", "id", 12], ["=", "id", 7]]));
    assert_eq!(
        filter.requested_names("id"),
        Some(vec![&FilterValue::Int(12), &FilterValue::Int(7)])
    );
    assert_eq!(filter.requested_names("name"), None);
    assert_eq!(names_filter(&["x"], "id", true), Err(NotANumber("x".into())));
}

#[test]
fn globs_leave_dots_alone() {
    let matches =
        |glob: &str, name: &str| regex::Regex::new(&glob_to_regex(glob)).unwrap().is_match(name);
    assert!(matches("web*", "web1.example.com"));
    assert!(matches("web?.ex*", "web1.example.com"));
    assert!(!matches("web*.com", "web1.example.com"));
    assert!(!matches("web", "web1.example.com"));
    assert!(matches("*", "anything.at.all"));
    assert!(!matches("a.b", "axb"));
}

fn field() -> impl Strategy<Value = String> {
    "[a-z][a-zA-Z0-9_/.]{0,10}"
        .prop_filter("keywords", |f| !["and", "or", "not", "in"].contains(&f.as_str()))
}

fn value() -> impl Strategy<Value = FilterValue> {
    prop_oneof![
        ".{0,12}".prop_map(FilterValue::Text),
        any::<i64>().prop_map(FilterValue::Int),
        // Few digits: serde_json may be off by one in the last of many.
        any::<i32>().prop_map(|n| FilterValue::Float(f64::from(n) / 8.0)),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let comparison = prop::sample::select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ]);
    let leaf = prop_oneof![
        field().prop_map(Filter::True),
        (comparison, field(), value()).prop_map(|(op, f, v)| Filter::Compare(op, f, v)),
        (field(), r#"[a-z0-9 ./"'(){}*?+|^-]{0,10}(\\[dwsb./|])?[a-z]?"#)
            .prop_map(|(f, r)| Filter::Matches(f, r)),
        (field(), value()).prop_map(|(f, v)| Filter::Contains(f, v)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(Filter::negated),
        ]
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["=", "==", "!", "|", "&", "?", "=~", "=[]", "<", "name", ""])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]", inner, 0..2)
                .prop_map(|m| m.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #[test]
    fn text_reads_back(filter in filter()) {
        let text = filter.to_string();
        prop_assert_eq!(parse(&text).map_err(|e| TestCaseError::fail(e.to_string()))?, filter);
    }

    #[test]
    fn json_reads_back(filter in filter()) {
        let text = filter.to_json().to_string();
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(Filter::from_json(&value), Ok(filter));
    }

    #[test]
    fn any_text_is_survived(text in ".{0,40}") {
        let _ = parse(&text).map_err(|e| e.to_string());
    }

    #[test]
    fn near_filters_are_survived(
        text in r#"([a-z]{1,3}|and|or|not|in|==|=~|!~|=\*|[()/#^|'"\\!<>=]|[0-9+.-]| |é|\n){0,14}"#,
    ) {
        match parse(&text) {
            Ok(filter) => {
                let _ = Filter::from_json(&filter.to_json()).expect("what parses is good JSON");
            }
            Err(error) => {
                prop_assert!(error.column <= error.text.chars().count() + 1, "{}", error);
            }
        }
    }

    #[test]
    fn any_json_is_survived(value in any_json()) {
        if let Ok(filter) = Filter::from_json(&value) {
            prop_assert_eq!(Filter::from_json(&filter.to_json()), Ok(filter));
        }
    }
}
