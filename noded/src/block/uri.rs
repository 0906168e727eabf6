//! URIs of disks, as people may see them.

/// The URI with stars for a password in it: `iscsi://user%password@host/…`, `nbd://user:password@…`,
/// `…:key=…` of Ceph. Everybody may read what is shown of disks.
pub fn shown(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else {
        let part = |part| if str::starts_with(part, "key=") { "key=***" } else { part };
        return uri.split(':').map(part).collect::<Vec<_>>().join(":");
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else { return uri.to_owned() };
    match user.find([':', '%']) {
        Some(at) => format!("{scheme}://{}***@{host}{path}", &user[..=at]),
        None => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (uri, wanted) in [
            ("iscsi://me%s3cr@t@host:3260/iqn.x/1", "iscsi://me%***@host:3260/iqn.x/1"),
            ("nbd://me:s3cret@host:10809/d", "nbd://me:***@host:10809/d"),
            ("rbd:pool/image:id=roost:key=AQ==:conf=/c", "rbd:pool/image:id=roost:key=***:conf=/c"),
        ] {
            assert_eq!(shown(uri), wanted);
        }
        for same in [
            "iscsi://host/iqn.2001-04.com.example:storage@x/1",
            "gluster://[2001:db8::1]:24007/vol/dir/disk0",
            "nbd+unix:///d?socket=/run/a:b@c",
            "nbd://me@host/d",
            "rbd:pool/image:id=roost",
            "/dev/sda",
        ] {
            assert_eq!(shown(same), same);
        }
    }
}
