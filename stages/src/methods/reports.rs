//! Of the kinds that make reports and encode them.

use pipe_plugin::stage::{Sentence, StageAccount, Topic};

use super::{Told, counted, param};

pub(super) fn report(account: &StageAccount<'_>) -> Told {
    let nodules = account.items().map_or_else(|| "nodules".to_string(), |items| counted(items, "nodule"));
    if account.has_input("dir") {
        return Ok(vec![
            Sentence::new(Topic::Predictors, format!("The reports on {nodules} were given as texts.")),
            Sentence::new(Topic::MissingData, "Each nodule has a report: one without is refused."),
        ]);
    }
    let by = match account.param("provider").as_deref() {
        None | Some("template") => "by templates".to_string(),
        Some(provider) => format!(
            "by the language model “{}” (asked as “{provider}”), which may answer otherwise when it is asked again",
            param(account, "model"),
        ),
    };
    Ok(vec![
        Sentence::new(
            Topic::Predictors,
            format!("The reports on {nodules} were worded from their semantic features {by}."),
        ),
        Sentence::new(
            Topic::MissingData,
            "Semantic features that are blank are not mentioned in the reports; nothing was imputed there.",
        ),
    ])
}

pub(super) fn text_encode(_: &StageAccount<'_>) -> Told {
    let text = "Of each report the part from the word “impression” on was encoded by CLIP's tokenizer, the whole report where it has none; texts that are too \
                long for the text tower were cut off.";
    Ok(vec![Sentence::new(Topic::Predictors, text)])
}
