//! Who may call which method of routing.

use rpc::access::{Kind, Method, Table};

/// Callers that see cases.
const VIEWERS: &[Kind] = &[Kind::Agency, Kind::Operator];

/// The tables of routing's gRPC services.
pub const ACCESS: &[Table] = &[
    Table {
        service: "remit.routing.v1.CaseService",
        methods: &[
            Method::new("GetCase", VIEWERS),
            Method::new("ListCases", VIEWERS),
            Method::new("CountWorklists", &[Kind::Agency]),
            Method::new("ListUndelivered", VIEWERS),
            Method::new("WatchCases", &[Kind::Agency]),
            Method::new("AcknowledgeCase", &[Kind::Agency]),
            Method::new("BatchAcknowledgeCases", &[Kind::Agency]),
            Method::new("DeclineCase", &[Kind::Agency]),
            Method::new("BatchDeclineCases", &[Kind::Agency]),
            Method::new("TransferCase", &[Kind::Agency]),
            Method::new("BatchTransferCases", &[Kind::Agency]),
            Method::new("EscalateCase", &[Kind::Agency]),
            Method::new("DispatchCase", &[Kind::Agency]),
            Method::new("DesignateAgency", &[Kind::Agency]),
            Method::new("ReclassifyCase", &[Kind::Agency]),
            Method::new("RequestAssistance", &[Kind::Agency]),
            Method::new("AnswerAssistance", &[Kind::Agency]),
            Method::new("ClaimLead", &[Kind::Agency]),
            Method::new("AnswerClaim", &[Kind::Agency]),
            Method::new("RecordProgress", &[Kind::Agency]),
            Method::new("RecordUrgentMeasure", &[Kind::Agency]),
            Method::new("AskReporter", &[Kind::Agency]),
            Method::new("ProposeDisposition", &[Kind::Agency]),
            Method::new("ReviewDisposition", &[Kind::Agency]),
            Method::new("ReferCrime", &[Kind::Agency]),
            Method::new("AnswerReferral", &[Kind::Agency]),
            Method::new("RequestReview", &[Kind::Agency]),
            Method::new("NotifySubject", &[Kind::Agency]),
            Method::new("AnswerStatement", &[Kind::Agency]),
            Method::new("ReopenCase", &[Kind::Agency]),
            Method::new("RecuseAgency", &[Kind::Agency]),
            Method::new("PauseClock", &[Kind::Agency]),
            Method::new("ResumeClock", &[Kind::Agency]),
            Method::new("SuperviseCase", &[Kind::Agency]),
            Method::new("ShareNarrative", &[Kind::Agency]),
            Method::new("SplitReport", &[Kind::Agency]),
            Method::new("AssignCase", &[Kind::Agency]),
            Method::new("BatchAssignCases", &[Kind::Agency]),
            Method::new("MoveCases", &[Kind::Agency]),
            Method::new("AppointDeputy", &[Kind::Agency]),
            Method::new("EndDeputy", &[Kind::Agency]),
            Method::new("ListDeputies", &[Kind::Agency]),
            Method::new("SuperviseAgency", &[Kind::Agency]),
            Method::new("AnswerSupervision", &[Kind::Agency]),
            Method::new("EndSupervision", &[Kind::Agency]),
            Method::new("ListSupervisions", &[Kind::Agency]),
        ],
    },
    // Who has the receipt may, whoever calls for the affected side.
    Table {
        service: "remit.routing.v1.NoticeService",
        methods: &[
            Method::new("CheckNotice", &[Kind::Authenticated]),
            Method::new("SubmitStatement", &[Kind::Authenticated]),
            Method::new("RequestDecisionReview", &[Kind::Authenticated]),
        ],
    },
    Table {
        service: "remit.routing.v1.RoutingInboundService",
        methods: &[
            Method::new("RouteReports", &[Kind::Service("intake")]),
            Method::new("CheckAccess", &[Kind::Service("intake"), Kind::Service("audit")]),
            Method::new("CheckReports", &[Kind::Service("intake")]),
            Method::new("PreviewRoute", &[Kind::Service("intake")]),
        ],
    },
    // The desks are public; the file of the directory is for operators.
    Table {
        service: "remit.routing.v1.DirectoryService",
        methods: &[
            Method::new("ApplyDirectory", &[Kind::Operator]),
            Method::new("GetDirectory", &[Kind::Authenticated]).when("without `territories`", &[Kind::Operator]),
            Method::new("ListDirectoryVersions", &[Kind::Operator]),
            Method::new("ListTerritories", &[Kind::Authenticated]),
            Method::new("GetTerritory", &[Kind::Authenticated]),
            Method::new("ListAgencies", &[Kind::Authenticated]),
            Method::new("GetAgency", &[Kind::Authenticated]),
            Method::new("LocateAgency", &[Kind::Authenticated]),
            Method::new("ListDesks", &[Kind::Authenticated]),
        ],
    },
    register::grpc::ACCESS,
    // Rule sets show how any report is routed: for operators only. A replay is also for callers
    // that see the case.
    Table {
        service: "remit.routing.v1.RuleSetService",
        methods: &[
            Method::new("CreateRuleSet", &[Kind::Operator]),
            Method::new("GetRuleSet", &[Kind::Operator]),
            Method::new("ListRuleSets", &[Kind::Operator]),
            Method::new("CheckRuleSet", &[Kind::Operator]),
            Method::new("ExplainRoute", &[Kind::Operator]),
            Method::new("SimulateRuleSet", &[Kind::Operator]),
            Method::new("ActivateRuleSet", &[Kind::Operator]),
            Method::new("ReplayRoute", VIEWERS),
        ],
    },
    rpc::operations::ACCESS,
];
