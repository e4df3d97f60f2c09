//! What two checklists ask of papers on prediction models and on imaging, and which of it sentences on a topic answer.
//!
//! TRIPOD+AI: Collins et al., BMJ 2024;385:e078378. CLAIM: Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300. Titles are
//! in words of our own. What follows from decisions of people, such as ethics, eligibility, the reference standard, sample size
//! and funding, no run can tell: such items have no topic.

use pipe_plugin::stage::Topic;

/// An item of a checklist.
pub(super) struct Item {
    /// Its number.
    pub(super) number: &'static str,
    /// What it asks for.
    pub(super) title: &'static str,
    /// The topics of sentences that answer it, or a part of it; none if no run can.
    pub(super) topics: &'static [Topic],
}

/// A checklist.
pub(super) struct Checklist {
    /// What it is called.
    pub(super) name: &'static str,
    pub(super) items: &'static [Item],
}

impl Checklist {
    /// The numbers of the items that sentences on a topic answer.
    pub(super) fn numbers(&self, topic: Topic) -> Vec<&'static str> {
        self.items.iter().filter(|item| item.topics.contains(&topic)).map(|item| item.number).collect()
    }
}

/// What a section on a topic is called.
pub(super) fn title(topic: Topic) -> &'static str {
    match topic {
        Topic::DataPreparation => "Data preparation",
        Topic::Outcome => "Outcome",
        Topic::MissingData => "Missing data",
        Topic::Partitions => "Partitions",
        Topic::Predictors => "Predictors",
        Topic::Model => "Model",
        Topic::Initialisation => "Initialisation",
        Topic::Training => "Training",
        Topic::Selection => "Selection of the final model",
        Topic::ClassImbalance => "Class imbalance",
        Topic::Ensemble => "Ensemble",
        Topic::Calibration => "Calibration",
        Topic::Output => "Output and thresholds",
        Topic::Measures => "Measures of performance",
        Topic::Uncertainty => "Uncertainty",
        Topic::Software => "Software",
        Topic::Availability => "Availability",
        Topic::Record => "Record",
        Topic::Participants => "Participants",
        Topic::Characteristics => "Characteristics",
        Topic::Performance => "Performance",
    }
}

/// Whether a topic is one of the results; the others are of the methods.
pub(super) fn is_result(topic: Topic) -> bool {
    matches!(topic, Topic::Participants | Topic::Characteristics | Topic::Performance)
}

const fn item(number: &'static str, title: &'static str, topics: &'static [Topic]) -> Item {
    Item { number, title, topics }
}

pub(super) const CHECKLISTS: [Checklist; 2] =
    [Checklist { name: "TRIPOD+AI", items: &TRIPOD_AI }, Checklist { name: "CLAIM 2024", items: &CLAIM }];

const TRIPOD_AI: [Item; 52] = [
    item("1", "title", &[]),
    item("2", "abstract", &[]),
    item("3a", "health care context and rationale", &[]),
    item("3b", "target population and intended use", &[]),
    item("3c", "known health inequalities", &[]),
    item("4", "objectives", &[]),
    item("5a", "sources of data, and why these", &[]),
    item("5b", "dates of the data", &[]),
    item("6a", "setting, number and location of centres", &[]),
    item("6b", "eligibility", &[]),
    item("6c", "treatments received", &[]),
    item("7", "preparation of the data", &[Topic::DataPreparation]),
    item("8a", "outcome, and how and when it was assessed", &[Topic::Outcome]),
    item("8b", "who assessed the outcome", &[]),
    item("8c", "blinding of the assessment of the outcome", &[]),
    item("9a", "choice of predictors", &[]),
    item("9b", "how and when predictors were measured", &[]),
    item("9c", "who assessed predictors that need judgement", &[]),
    item("10", "sample size", &[]),
    item("11", "missing data", &[Topic::MissingData]),
    item("12a", "use of the data in development and evaluation, and partitions", &[Topic::Partitions]),
    item("12b", "handling of predictors", &[Topic::Predictors]),
    item(
        "12c",
        "type of model, steps of building it, internal validation",
        &[Topic::Model, Topic::Training, Topic::Selection],
    ),
    item("12d", "heterogeneity across clusters", &[]),
    item("12e", "measures of performance, and comparison of models", &[Topic::Measures, Topic::Uncertainty]),
    item("12f", "updating of the model that arises from its evaluation", &[]),
    item("12g", "how predictions were calculated", &[Topic::Ensemble, Topic::Calibration]),
    item("13", "class imbalance", &[Topic::ClassImbalance]),
    item("14", "fairness", &[]),
    item("15", "output of the model, and thresholds", &[Topic::Output]),
    item("16", "differences between the data for development and for evaluation", &[]),
    item("17", "ethical approval", &[]),
    item("18a", "funding", &[]),
    item("18b", "conflicts of interest", &[]),
    item("18c", "protocol", &[]),
    item("18d", "registration", &[]),
    item("18e", "availability of data", &[]),
    item("18f", "availability of code", &[]),
    item("19", "involvement of patients and the public", &[]),
    item("20a", "flow of participants", &[Topic::Participants]),
    item("20b", "characteristics of participants", &[Topic::Characteristics]),
    item("20c", "comparison with the data of development", &[]),
    item(
        "21",
        "participants and outcome events in each analysis",
        &[Topic::Participants, Topic::Characteristics],
    ),
    item("22", "the full model, so that others can predict", &[Topic::Availability]),
    item("23a", "performance with intervals", &[Topic::Performance]),
    item("23b", "heterogeneity of performance across clusters", &[]),
    item("24", "results of updating the model", &[]),
    item("25", "interpretation", &[]),
    item("26", "limitations", &[]),
    item("27a", "handling of poor or missing input in use", &[]),
    item("27b", "interaction and expertise that use needs", &[]),
    item("27c", "next steps", &[]),
];

const CLAIM: [Item; 44] = [
    item("1", "the title names the methodology", &[]),
    item("2", "abstract", &[]),
    item("3", "background and intended use", &[]),
    item("4", "aims and hypotheses", &[]),
    item("5", "prospective or retrospective", &[]),
    item("6", "goal of the study", &[]),
    item("7", "sources of data", &[]),
    item("8", "inclusion and exclusion", &[]),
    item("9", "preprocessing", &[Topic::DataPreparation, Topic::Predictors]),
    item("10", "selection of subsets of the data, such as crops", &[Topic::DataPreparation]),
    item("11", "de-identification", &[]),
    item("12", "missing data", &[Topic::MissingData]),
    item("13", "protocol of image acquisition", &[]),
    item("14", "definition of the reference standard", &[Topic::Outcome]),
    item("15", "rationale of the reference standard", &[]),
    item("16", "source of the reference standard's annotations", &[]),
    item("17", "annotation of the test set", &[]),
    item("18", "variability within and between annotators", &[]),
    item("19", "assignment of data to partitions", &[Topic::Partitions]),
    item("20", "the level at which partitions are disjoint", &[Topic::Partitions]),
    item("21", "intended sample size", &[]),
    item("22", "the model in detail", &[Topic::Model, Topic::Output]),
    item("23", "software and libraries", &[Topic::Software]),
    item("24", "initialisation of parameters", &[Topic::Initialisation]),
    item("25", "training in detail", &[Topic::Training, Topic::ClassImbalance]),
    item("26", "selection of the final model", &[Topic::Selection]),
    item("27", "ensembling", &[Topic::Ensemble]),
    item("28", "metrics of performance", &[Topic::Measures]),
    item("29", "measures of significance and uncertainty", &[Topic::Uncertainty]),
    item("30", "robustness and sensitivity", &[]),
    item("31", "explainability", &[]),
    item("32", "internal testing", &[]),
    item("33", "external testing", &[]),
    item("34", "registration of the trial", &[]),
    item("35", "numbers of patients, included and excluded", &[Topic::Participants]),
    item("36", "characteristics of the cases of each partition", &[Topic::Characteristics]),
    item("37", "performance and its uncertainty", &[Topic::Performance]),
    item("38", "diagnostic performance and its precision", &[Topic::Performance]),
    item("39", "failures", &[]),
    item("40", "limitations", &[]),
    item("41", "implications for practice", &[]),
    item("42", "access to the protocol", &[]),
    item("43", "availability of software, model and data", &[Topic::Availability]),
    item("44", "funding", &[]),
];
