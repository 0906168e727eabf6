use super::super::stand_in::StandIn;
use super::*;

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_was_read_is_used_until_something_changes() {
    let node = StandIn::new();
    let lvm = node.lvm(LONG);
    let found = lvm.not_older(LONG).await.expect("readable");
    assert!(found.whole && found.volume("xenvg", "one.disk0").is_some());
    lvm.not_older(LONG).await.expect("readable");
    assert_eq!(node.asked().len(), 2, "pvs and lvs, once");
    lvm.now().await.expect("readable");
    assert_eq!(node.asked().len(), 4, "now is now");
    lvm.change("lvremove", ["x"]).await.expect("done");
    lvm.not_older(LONG).await.expect("readable");
    assert_eq!(node.asked().len(), 7);
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_share_an_answer() {
    let node = StandIn::new();
    let lvm = node.lvm(LONG);
    let (a, b, c) = tokio::join!(lvm.not_older(LONG), lvm.not_older(LONG), lvm.not_older(LONG));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(node.asked().len(), 2);
}

#[tokio::test]
async fn what_lvm_could_not_read_is_not_gone() {
    let node = StandIn::new();
    let lvm = node.lvm(LONG);
    node.before("[ $1 != lvs ] || { echo '  bad checksum' >&2; echo '{\"report\":[]}'; exit 5; }");
    let found = lvm.now().await.expect("half");
    assert!(!found.whole);
    let error = found.sure("a volume 'xenvg/x'").expect_err("who knows");
    assert_eq!(
        error.message,
        "Whether there is a volume 'xenvg/x' on this node cannot be told; LVM says: bad checksum"
    );
}

#[tokio::test]
async fn figures_of_groups() {
    let node = StandIn::new();
    let figures = node.lvm(LONG).figures().await;
    assert_eq!(figures.space["xenvg"], (4088, 3220));
    assert_eq!(figures.spindles["xenvg"], (2, 0));
    let error = node.lvm(LONG).now().await.expect("readable").group("vg2").map(drop);
    let error = error.expect_err("not there").message;
    assert!(error.contains("no volume group 'vg2' on this node; there are: xenvg"), "{error}");
}

#[tokio::test]
async fn an_lvm_that_hangs_does_not_stop_reports() {
    let node = StandIn::new();
    let lvm = node.lvm(Duration::from_millis(200));
    let good = lvm.figures().await;
    assert_ne!(good, Figures::default());
    lvm.change("lvchange", ["x"]).await.expect("a change");
    node.before("exec sleep 1000");
    assert_eq!(lvm.figures().await, good, "the last that were known");
    let asked = node.asked().len();
    assert_eq!(lvm.figures().await, good);
    assert_eq!(node.asked().len(), asked, "it is left in peace");
}

#[tokio::test]
async fn no_lvm_costs_nothing() {
    let lvm = Box::leak(Box::new(Lvm::new(Tools::stand_in("/nonexistent".into(), LONG))));
    assert_eq!(lvm.figures().await, Figures::default());
}
