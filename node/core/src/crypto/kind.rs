//! What a record is: the first byte of its key. The bytes are on every disk, so they never change and are never
//! used again for something else.

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// How the root key is wrapped. Plain: a sealed node must read it. Contains no secret.
    SealConfig = 0x01,
    /// The keyring, wrapped by the root key. Not sealed by the barrier, which is made from it.
    Keyring = 0x02,
    /// How many seals the active term has done at most, reserved ahead.
    SealCount = 0x03,
    /// That the state came from a snapshot that an operator restored.
    RestoreMarker = 0x04,
    /// The key and certificate of the cluster's own authority.
    ClusterCa = 0x05,
    /// What the cluster knows of each member beyond Raft's membership.
    NodeRegistry = 0x06,
    /// A join token that was not used yet.
    JoinToken = 0x07,
    /// When the keyring rotates by itself.
    RotateConfig = 0x08,
    /// The table of mounts.
    Mounts = 0x10,
    /// A token, under its keyed hash.
    Token = 0x11,
    /// What was answered to a request that carried an idempotency key.
    Dedup = 0x12,
    /// A policy, under its name.
    Policy = 0x13,
    /// That some policy changed.
    PolicyEpoch = 0x14,
    /// From a token's accessor to the token.
    TokenAccessor = 0x15,
    /// That a token was made with another: below that one's hash.
    TokenChild = 0x16,
    /// That what was made with a token is to be cleared away.
    TokenClearing = 0x17,
    /// A rule for passwords, under its name.
    PasswordPolicy = 0x18,
    /// The rate limits.
    Quotas = 0x19,
    /// Where the nodes' audit trails stood.
    AuditAnchors = 0x30,
    /// The audit devices that were enabled through the API.
    AuditDevices = 0x31,
    /// A secret of a KV v1 mount.
    KvV1 = 0x20,
    // 0x21 was the settings of a KV v2 mount, which lie in the table of mounts; nothing was ever stored under it.
    /// The metadata of a KV v2 secret.
    KvMeta = 0x22,
    /// One version of a KV v2 secret.
    KvData = 0x23,
    /// A user of a userpass mount.
    UserpassUser = 0x40,
    /// How often a name was tried with a wrong password lately.
    UserpassFailures = 0x41,
    /// A role of an approle mount.
    AppRole = 0x42,
    /// From a role's id to the role.
    AppRoleId = 0x43,
    /// A secret id, under its keyed hash, below its role.
    SecretId = 0x44,
    /// From a secret id's accessor to the secret id, below its role.
    SecretIdAccessor = 0x45,
    /// That the secret ids of a role that is gone are to be cleared away.
    AppRoleClearing = 0x46,
    /// A root token that is being made by key shares.
    RootGeneration = 0x50,
    /// Key shares that are being replaced.
    Rekey = 0x51,
    /// What a token keeps for itself, under its keyed hash.
    Cubbyhole = 0x52,
    /// A role for making tokens, under its name.
    TokenRole = 0x60,
    /// That tokens are being gone through, and how far that has come.
    TokenTidying = 0x61,
    /// An entity, or what it was merged into, under its id.
    Entity = 0x62,
    /// From an entity's name to its id.
    EntityName = 0x63,
    /// From the accessor of a mount and a name there to an entity.
    EntityAlias = 0x64,
    /// From the id of an alias to its entity.
    EntityAliasId = 0x65,
    /// A group, under its id.
    Group = 0x66,
    /// From a group's name to its id.
    GroupName = 0x67,
    /// From the accessor of a mount and a name there to a group.
    GroupAlias = 0x68,
    /// From the id of an alias to its group.
    GroupAliasId = 0x69,
    /// That an entity is in a group: below that one's id.
    GroupMember = 0x6a,
    /// That some group changed.
    GroupEpoch = 0x6b,
    /// That the members of a group that is no more are to be let go.
    GroupClearing = 0x6c,
    /// The settings of a jwt mount.
    JwtConfig = 0x70,
    /// A role of a jwt mount.
    JwtRole = 0x71,
    /// That somebody is back who was sent to a provider to log in there.
    OidcState = 0x72,
    /// The settings of a kubernetes mount.
    KubernetesConfig = 0x73,
    /// A role of a kubernetes mount.
    KubernetesRole = 0x74,
    /// That something else was put where a token lay.
    TokenReplaced = 0x6d,
    /// How many leases there may be.
    LeaseQuotas = 0x78,
    /// That the leases below a path are to be revoked.
    LeaseRevoking = 0x79,
    /// A lease, below the path that it was issued at. Counted (`conclave_proto::counted`).
    Lease = 0x7c,
    /// A lease of a login, below its mount and role. Counted.
    LeaseOfRole = 0x7d,
    // 0x7e and 0x7f are the counts of these two.
    /// The methods and enforcements of login MFA.
    LoginMfa = 0x80,
    /// What an entity's device shares with the cluster: below its method.
    TotpSecret = 0x81,
    /// How often a code of an entity was wrong lately: below its method.
    TotpAttempts = 0x82,
    /// A login that waits for another proof, under its id.
    LaidAsideLogin = 0x83,
    /// That the secrets of a method that is gone are to be cleared away.
    TotpClearing = 0x84,
    /// A role of a cert mount.
    CertRole = 0x85,
    /// The settings of a cert mount.
    CertConfig = 0x86,
    /// Certificates that were revoked, of a cert mount.
    CertCrl = 0x87,
    /// Which server an aws mount asks, and how.
    AwsClient = 0x88,
    /// By what name identity knows who logs in at an aws mount.
    AwsIdentity = 0x89,
    /// A role of an aws mount.
    AwsRole = 0x8a,
}

impl Kind {
    /// The first byte of the record's key.
    pub fn byte(self) -> u8 {
        self as u8
    }
}

/// The key of the only record of `kind`: it needs no key material, so a sealed node can find it.
///
/// It equals [`Barrier::key`](crate::crypto::Barrier::key) without segments. What must be readable while sealed
/// ([`Kind::SealConfig`], [`Kind::Keyring`]) lies here and is not sealed by the barrier.
pub fn plain_key(kind: Kind) -> Vec<u8> {
    vec![kind.byte()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_on_disk_never_change() {
        let expected = [
            (Kind::SealConfig, 0x01),
            (Kind::Keyring, 0x02),
            (Kind::SealCount, 0x03),
            (Kind::RestoreMarker, 0x04),
            (Kind::ClusterCa, 0x05),
            (Kind::NodeRegistry, 0x06),
            (Kind::JoinToken, 0x07),
            (Kind::RotateConfig, 0x08),
            (Kind::Mounts, 0x10),
            (Kind::Token, 0x11),
            (Kind::Dedup, 0x12),
            (Kind::Policy, 0x13),
            (Kind::PolicyEpoch, 0x14),
            (Kind::TokenAccessor, 0x15),
            (Kind::TokenChild, 0x16),
            (Kind::TokenClearing, 0x17),
            (Kind::PasswordPolicy, 0x18),
            (Kind::Quotas, 0x19),
            (Kind::AuditAnchors, 0x30),
            (Kind::AuditDevices, 0x31),
            (Kind::KvV1, 0x20),
            (Kind::KvMeta, 0x22),
            (Kind::KvData, 0x23),
            (Kind::UserpassUser, 0x40),
            (Kind::UserpassFailures, 0x41),
            (Kind::AppRole, 0x42),
            (Kind::AppRoleId, 0x43),
            (Kind::SecretId, 0x44),
            (Kind::SecretIdAccessor, 0x45),
            (Kind::AppRoleClearing, 0x46),
            (Kind::RootGeneration, 0x50),
            (Kind::Rekey, 0x51),
            (Kind::Cubbyhole, 0x52),
            (Kind::TokenRole, 0x60),
            (Kind::TokenTidying, 0x61),
            (Kind::Entity, 0x62),
            (Kind::EntityName, 0x63),
            (Kind::EntityAlias, 0x64),
            (Kind::EntityAliasId, 0x65),
            (Kind::Group, 0x66),
            (Kind::GroupName, 0x67),
            (Kind::GroupAlias, 0x68),
            (Kind::GroupAliasId, 0x69),
            (Kind::GroupMember, 0x6a),
            (Kind::GroupEpoch, 0x6b),
            (Kind::GroupClearing, 0x6c),
            (Kind::JwtConfig, 0x70),
            (Kind::JwtRole, 0x71),
            (Kind::OidcState, 0x72),
            (Kind::KubernetesConfig, 0x73),
            (Kind::KubernetesRole, 0x74),
            (Kind::TokenReplaced, 0x6d),
            (Kind::LeaseQuotas, 0x78),
            (Kind::LeaseRevoking, 0x79),
            (Kind::Lease, 0x7c),
            (Kind::LeaseOfRole, 0x7d),
            (Kind::LoginMfa, 0x80),
            (Kind::TotpSecret, 0x81),
            (Kind::TotpAttempts, 0x82),
            (Kind::LaidAsideLogin, 0x83),
            (Kind::TotpClearing, 0x84),
            (Kind::CertRole, 0x85),
            (Kind::CertConfig, 0x86),
            (Kind::CertCrl, 0x87),
            (Kind::AwsClient, 0x88),
            (Kind::AwsIdentity, 0x89),
            (Kind::AwsRole, 0x8a),
        ];
        for (kind, byte) in expected {
            assert_eq!(kind.byte(), byte, "{kind:?}");
            assert_eq!(plain_key(kind), [byte]);
        }
    }
}
