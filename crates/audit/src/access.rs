//! Who may call which method of audit.

use rpc::access::{AUDITOR, DESK, INSPECTOR, Kind, Method, OPERATOR, REVIEWER, SUPERVISOR, Table};

/// The services whose changes the log holds.
const PRODUCERS: &[Kind] = &[Kind::Service("intake"), Kind::Service("routing")];
/// Those who may be shown what entries commit to; agencies only of the records that they see.
const DETAIL_READERS: &[Kind] = &[AUDITOR, DESK, REVIEWER, SUPERVISOR, INSPECTOR];

/// The tables of audit's gRPC services.
pub const ACCESS: &[Table] = &[
    Table {
        service: "remit.audit.v1.AuditService",
        methods: &[
            // What is missing concerns the services, too.
            Method::new(
                "ListGaps",
                &[
                    OPERATOR,
                    Kind::Service("intake"),
                    Kind::Service("routing"),
                    Kind::Service("audit"),
                ],
            ),
            Method::new("UnfreezeProducer", &[OPERATOR]),
            Method::new("ListChanges", &[Kind::Authenticated]).when("with `with_detail`", DETAIL_READERS),
            Method::new("WatchChanges", &[Kind::Authenticated]).when("with `with_detail`", DETAIL_READERS),
            Method::new("GetCheckpoint", &[Kind::Authenticated]),
            Method::new("GetInclusionProof", &[Kind::Authenticated]),
            Method::new("GetConsistencyProof", &[Kind::Authenticated]),
        ],
    },
    Table {
        service: "remit.audit.v1.AuditInboundService",
        methods: &[
            Method::new("AppendChanges", PRODUCERS),
            Method::new("AppendBatches", PRODUCERS),
            Method::new("RecordMark", PRODUCERS),
        ],
    },
    rpc::operations::ACCESS,
];

/// The newest checkpoint, below the server's address.
pub(crate) const CHECKPOINT: &str = "/checkpoint";
/// The tiles.
pub(crate) const TILES: &str = "/tile/{*path}";

/// The files over plain HTTP, on the same port.
pub const FILES: Table = Table {
    service: "C2SP tlog-tiles over HTTP",
    methods: &[
        Method::new(CHECKPOINT, &[Kind::Anyone]),
        Method::new(TILES, &[Kind::Anyone]),
    ],
};
