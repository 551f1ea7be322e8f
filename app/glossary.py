"""The words of the dashboard, each with one line, one paragraph and one example."""

from dataclasses import dataclass

from app.text import marked


@dataclass(frozen=True)
class Term:
    """A word; ``key`` is its place in a link. All other fields are message ids."""

    key: str
    word: str
    line: str
    paragraph: str
    example: str


TERMS = (
    Term(
        "energy-based-model",
        marked("Energy-based model"),
        marked("Scores every combination, then turns the scores into probabilities."),
        marked(
            "The model gives each combination a score and makes probabilities of the scores by dividing by their sum "
            "over all combinations. Nothing is assumed about how the parts depend on one another: the score may reward "
            "or punish any pair."
        ),
        marked("Motor A with gearbox C scores high, so every assembly that holds both becomes more likely."),
    ),
    Term(
        "score",
        marked("Score (affinity) g"),
        marked("High means that the combination fits well; the energy is its negative."),
        marked(
            "The score g(x, y) says how well combination y suits the features x, in nats. Only differences between "
            "scores matter: one nat more makes a combination about 2.7 times as likely."
        ),
        marked("Scores 3.0 and 2.0: the first combination is 2.7 times as likely as the second."),
    ),
    Term(
        "partition-function",
        marked("Partition function and log-partition"),
        marked("The number that makes the probabilities add up to one; its logarithm is learned."),
        marked(
            "To turn scores into probabilities they have to be divided by their sum over all combinations, of which "
            "there may be billions. Here a network learns the logarithm of that sum together with the score, so that a "
            "probability costs one look-up instead of a sum. How well it learned is audited."
        ),
        marked("With the log-partition off by 0.06 nat, every probability of that case is off by about 6 %."),
    ),
    Term(
        "reference-distribution",
        marked("Reference distribution"),
        marked("Where candidates come from before the score is applied."),
        marked(
            "A probability for every combination that stands before any learning of the joint model: uniform over the "
            "valid ones, or what simpler models say of each part alone. The score then learns only what it misses."
        ),
        marked("Each option as frequent as in the data, all slots independent of one another."),
    ),
    Term(
        "candidate-generator",
        marked("Candidate generator"),
        marked("The rules, data or simulation that draw from the reference distribution."),
        marked(
            "It decides which combinations are possible at all. What it never draws, the model can't recommend; so its "
            "coverage is checked before anything else is trusted."
        ),
        marked("A rule file leaves a tenth of all combinations valid, and candidates are drawn evenly from those."),
    ),
    Term(
        "coverage",
        marked("Coverage"),
        marked("The share of past cases that the candidate generator can draw."),
        marked(
            "A past case that the rules call impossible shows that a rule is too strict or that the case is an error. "
            "Training leaves such cases out, so full coverage is the first thing to look for."
        ),
        marked("A rule forbids the resolver, but 40 of 420 assemblies have one: the coverage is 90 %."),
    ),
    Term(
        "chi-squared-divergence",
        marked("χ² divergence"),
        marked("How unevenly draws from the reference distribution are weighted in training."),
        marked(
            "χ²(p‖q) is the variance of the weights p/q that draws from q carry. It is 0 where the reference already "
            "is the distribution sought; 1 / (1 + χ²) is the share of the draws that training is worth."
        ),
        marked("χ² = 3: a thousand draws are worth about 250 ideal ones."),
    ),
    Term(
        "unseen-combination",
        marked("Unseen combination"),
        marked("One that never occurred in the training data."),
        marked(
            "The parts have been seen, but not together. The model judges such a combination by what it learned of the "
            "parts and pairs. The farther it is from everything tried, the less is known of it, so the distance "
            "is shown."
        ),
        marked("Servo motor, planetary gearbox and polymer housing were each built, but never in one assembly."),
    ),
    Term(
        "calibration",
        marked("Calibration"),
        marked("Stated probabilities match observed shares."),
        marked(
            "Of all cases that were given 30 %, about 30 % ought to happen. It is checked on cases kept out of "
            "training, for single labels and for whole combinations, with a band for what chance alone would give."
        ),
        marked("Of 200 assemblies with a stated 30 %, 58 failed: within the band."),
    ),
    Term(
        "effective-sample-size",
        marked("Effective sample size"),
        marked("How many draws the estimate is really worth."),
        marked(
            "When a few of many random draws carry nearly all the weight, the estimate is only as good as those few. A "
            "small effective sample size warns that an estimate can be wrong without looking wrong."
        ),
        marked("500 draws with an effective sample size of 20 are as uncertain as 20 ideal draws."),
    ),
    Term(
        "audit",
        marked("Audit"),
        marked("An independent check of the learned log-partition."),
        marked(
            "The sum that the network has learned is computed again in another way: exactly where there are few enough "
            "combinations, else by careful sampling with an interval. The difference decides the verdict."
        ),
        marked("Learned 12.31, audited 12.28 (12.25–12.32): within the interval."),
    ),
    Term(
        "expected-value",
        marked("Expected value"),
        marked("The value of an action, averaged over what may happen."),
        marked(
            "Each outcome's value is weighted by its probability and added up. The action with the highest expected "
            "value is the best choice in the long run, provided that the probabilities are calibrated."
        ),
        marked("Gain 100 at 70 % and loss 50 at 30 %: the expected value is 55."),
    ),
    Term(
        "threshold",
        marked("Threshold and abstention"),
        marked("Below the threshold a person decides."),
        marked(
            "The model keeps out of the cases that it is least sure of. A higher threshold hands more cases to people "
            "and makes fewer mistakes in the rest."
        ),
        marked("Only cases of at least 80 % are decided by the model; 9 % of the cases go to an engineer."),
    ),
    Term(
        "human-in-the-loop",
        marked("Human in the loop"),
        marked("Cases that are routed to a person."),
        marked(
            "Uncertain cases, and those unlike anything in the data, are shown to a person with the reason. What the "
            "person decides becomes new data."
        ),
        marked("An engineer examines three assemblies a day whose distance to the tried ones is four parts or more."),
    ),
    Term(
        "proof-of-concept",
        marked("Proof of concept and stage gate"),
        marked("A small trial, and the rule for going on."),
        marked(
            "The trial passes through data, generator, model, evidence and decision. Each stage has a verdict, and the "
            "criteria stand before the result is known."
        ),
        marked("Evidence says caution: collect 300 more rows before the decision."),
    ),
)
