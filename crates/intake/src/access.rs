//! Who may call which method of intake.

use rpc::access::{Kind, Method, Table};

/// Those who send reports in.
const SENDERS: &[Kind] = &[Kind::Agency, Kind::Partner, Kind::Operator];

/// The tables of intake's gRPC services.
pub const ACCESS: &[Table] = &[
    Table {
        service: "remit.intake.v1.IntakeService",
        methods: &[
            Method::new("SubmitReport", SENDERS),
            Method::new("BatchSubmitReports", SENDERS),
            Method::new("SubmitReports", SENDERS),
            Method::new("GetReport", SENDERS),
            Method::new("ListReports", SENDERS),
            Method::new("CheckReceipt", &[Kind::Authenticated]),
            Method::new("RequestReview", &[Kind::Authenticated]),
            Method::new("AddInformation", &[Kind::Authenticated]),
            Method::new("AnswerQuestion", &[Kind::Authenticated]),
            Method::new("WithdrawReport", &[Kind::Authenticated]),
            Method::new("RevealReporter", &[Kind::Agency, Kind::Operator]),
        ],
    },
    Table {
        service: "remit.intake.v1.IntakeInboundService",
        methods: &[
            Method::new("RecordCaseChanges", &[Kind::Service("routing")]),
            Method::new("RecordProgress", &[Kind::Service("routing")]),
        ],
    },
    Table {
        service: "remit.intake.v1.EvidenceService",
        methods: &[
            Method::new("UploadEvidence", SENDERS).upload(),
            Method::new("GetEvidence", SENDERS),
            Method::new("DownloadEvidence", SENDERS),
        ],
    },
    Table {
        service: "remit.intake.v1.CategoryService",
        methods: &[
            Method::new("ListCategories", &[Kind::Authenticated]),
            Method::new("GetCategory", &[Kind::Authenticated]),
        ],
    },
    rpc::operations::ACCESS,
];
