//! Who may call which method of intake.

use rpc::access::{DESK, INSPECTOR, Kind, Method, OPERATOR, REVIEWER, SUBMITTER, SUPERVISOR, Table};

/// Those who send reports in.
const SENDERS: &[Kind] = &[SUBMITTER];
/// Those who read what they sent, or what the cases of their agency are about.
const READERS: &[Kind] = &[SUBMITTER, DESK, REVIEWER, SUPERVISOR, INSPECTOR];

/// The tables of intake's gRPC services.
pub const ACCESS: &[Table] = &[
    Table {
        service: "remit.intake.v1.IntakeService",
        methods: &[
            Method::new("SubmitReport", SENDERS),
            Method::new("BatchSubmitReports", SENDERS),
            Method::new("SubmitReports", SENDERS),
            Method::new("GetReport", READERS),
            Method::new("ListReports", SENDERS),
            Method::new("WatchReports", SENDERS),
            Method::new("ConfirmReports", SENDERS),
            Method::new("ListUnconfirmedSenders", &[OPERATOR]),
            Method::new("CheckReceipt", &[Kind::Authenticated]),
            Method::new("RequestReview", &[Kind::Authenticated]),
            Method::new("AddInformation", &[Kind::Authenticated]),
            Method::new("AnswerQuestion", &[Kind::Authenticated]),
            Method::new("WithdrawReport", &[Kind::Authenticated]),
            // Who reports is for who works on the case: for nobody who runs the services.
            Method::new("RevealReporter", &[DESK]),
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
            Method::new("GetUpload", SENDERS),
            Method::new("GetEvidence", READERS),
            Method::new("DownloadEvidence", READERS),
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
