//! Who may call which method of routing.

use rpc::access::{
    AUDITOR, CASEWORK, DESK, DIRECTORY_EDITOR, INSPECTOR, Kind, Method, OPERATOR, REVIEWER, RULES_EDITOR, SUPERVISOR,
    Table,
};

/// Callers that see cases.
const VIEWERS: &[Kind] = &[DESK, REVIEWER, SUPERVISOR, INSPECTOR, OPERATOR];
/// Those who work on cases.
const WORKERS: &[Kind] = &[DESK];
/// Those who read the directory's file, and when it changed.
const DIRECTORY_READERS: &[Kind] = &[DIRECTORY_EDITOR, OPERATOR, AUDITOR];
/// Those who read rule sets: auditors decide routes again.
const RULES_READERS: &[Kind] = &[RULES_EDITOR, OPERATOR, AUDITOR];
/// Those whom an answer about all cases names them to: an editor alone gets numbers.
const SEE_ALL_CASES: &[Kind] = &[OPERATOR];
/// What marks that, in the tables.
const CASES_BY_NAME: &str = "naming cases";

/// The tables of routing's gRPC services.
pub const ACCESS: &[Table] = &[
    Table {
        service: "remit.routing.v1.CaseService",
        methods: &[
            Method::new("GetCase", VIEWERS),
            Method::new("ListCases", VIEWERS),
            Method::new("CountWorklists", CASEWORK),
            Method::new("ListUndelivered", VIEWERS),
            Method::new("WatchCases", CASEWORK),
            Method::new("AcknowledgeCase", WORKERS),
            Method::new("BatchAcknowledgeCases", WORKERS),
            Method::new("DeclineCase", WORKERS),
            Method::new("BatchDeclineCases", WORKERS),
            Method::new("TransferCase", WORKERS),
            Method::new("BatchTransferCases", WORKERS),
            Method::new("EscalateCase", WORKERS),
            Method::new("DispatchCase", &[DESK, SUPERVISOR]),
            Method::new("DesignateAgency", &[SUPERVISOR]),
            Method::new("ReclassifyCase", &[DESK, SUPERVISOR]),
            Method::new("RequestAssistance", WORKERS),
            Method::new("AnswerAssistance", WORKERS),
            Method::new("ClaimLead", WORKERS),
            Method::new("AnswerClaim", WORKERS),
            Method::new("RecordProgress", WORKERS),
            Method::new("RecordUrgentMeasure", WORKERS),
            Method::new("AskReporter", WORKERS),
            Method::new("ProposeDisposition", WORKERS),
            Method::new("ReviewDisposition", &[REVIEWER]),
            Method::new("ReferCrime", WORKERS),
            Method::new("AnswerReferral", WORKERS),
            Method::new("RequestReview", WORKERS),
            Method::new("NotifySubject", WORKERS),
            Method::new("AnswerStatement", WORKERS),
            Method::new("ReopenCase", &[DESK, REVIEWER]),
            Method::new("RecuseAgency", WORKERS),
            Method::new("PauseClock", WORKERS),
            Method::new("ResumeClock", WORKERS),
            Method::new("SuperviseCase", &[SUPERVISOR]),
            Method::new("ShareNarrative", WORKERS),
            Method::new("SplitReport", WORKERS),
            Method::new("AssignCase", &[DESK, SUPERVISOR]),
            Method::new("BatchAssignCases", &[DESK, SUPERVISOR]),
            Method::new("MoveCases", &[DESK, SUPERVISOR]),
            Method::new("AppointDeputy", &[DESK, REVIEWER, SUPERVISOR]),
            Method::new("EndDeputy", &[DESK, REVIEWER, SUPERVISOR]),
            Method::new("ListDeputies", CASEWORK),
            Method::new("SuperviseAgency", &[SUPERVISOR]),
            Method::new("AnswerSupervision", &[DESK, SUPERVISOR]),
            Method::new("EndSupervision", &[SUPERVISOR]),
            Method::new("ListSupervisions", CASEWORK),
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
    // The desks are public; the file of the directory is for those who edit and run it.
    Table {
        service: "remit.routing.v1.DirectoryService",
        methods: &[
            // Others learn how many cases would lose their owner, and not which.
            Method::new("ApplyDirectory", &[DIRECTORY_EDITOR]).when(CASES_BY_NAME, SEE_ALL_CASES),
            Method::new("ApproveDirectory", &[DIRECTORY_EDITOR]).when(CASES_BY_NAME, SEE_ALL_CASES),
            Method::new("GetDirectory", &[Kind::Authenticated]).when("without `territories`", DIRECTORY_READERS),
            Method::new("ListDirectoryVersions", DIRECTORY_READERS),
            Method::new("ListTerritories", &[Kind::Authenticated]),
            Method::new("GetTerritory", &[Kind::Authenticated]),
            Method::new("ListAgencies", &[Kind::Authenticated]),
            Method::new("GetAgency", &[Kind::Authenticated]),
            Method::new("LocateAgency", &[Kind::Authenticated]),
            Method::new("ListDesks", &[Kind::Authenticated]),
        ],
    },
    register::grpc::ACCESS,
    // Rule sets show how any report is routed: for those who make, run and inspect them. A replay
    // is for callers that see the case.
    Table {
        service: "remit.routing.v1.RuleSetService",
        methods: &[
            Method::new("CreateRuleSet", &[RULES_EDITOR]),
            Method::new("GetRuleSet", RULES_READERS),
            Method::new("ListRuleSets", RULES_READERS),
            Method::new("CheckRuleSet", &[RULES_EDITOR, OPERATOR]),
            Method::new("ExplainRoute", &[RULES_EDITOR, OPERATOR]),
            // Others learn how many cases differ, and not which.
            Method::new("SimulateRuleSet", &[RULES_EDITOR]).when(CASES_BY_NAME, SEE_ALL_CASES),
            Method::new("ActivateRuleSet", &[RULES_EDITOR]),
            Method::new("ApproveRuleSet", &[RULES_EDITOR]),
            Method::new("ReplayRoute", VIEWERS),
        ],
    },
    rpc::operations::ACCESS,
];
