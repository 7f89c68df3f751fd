// What is known of a probability, by the thresholds and reference values that were exported with
// the network: what evaluation/operating_points.py says of it.

import { bitLength } from "./grey_values.js";

/** What settings.json knows of a class's probability; what it does not know is null. */
export function meaning(settings, name, prob) {
  const facts = settings.reference?.by_class[name];
  const threshold = (facts ? facts.threshold : settings.thresholds?.[name]) ?? null;
  return {
    threshold,
    isPositive: threshold === null ? null : prob >= threshold,
    calibrated: facts ? calibrate(prob, facts.calibration) : null,
    baseRate: facts?.prevalence ?? null,
    // A threshold chosen by few films with the finding: how many, else null.
    fewFilms: facts && facts.positives < settings.few ? facts.positives : null,
    above: facts?.quantiles_without ? percentBelow(prob, facts.quantiles_without) : null,
  };
}

// Per cent of the validation films without the finding that are less likely.
function percentBelow(prob, quantiles) {
  const below = quantiles.findIndex((quantile) => quantile >= prob);
  return Math.max((below < 0 ? quantiles.length : below) - 1, 0);
}

function calibrate(prob, fitted) {
  if (!fitted) return null;
  if ("slope" in fitted) {
    // Probabilities of 0 and 1 have no logit.
    const inside = Math.min(Math.max(prob, 1e-7), 1 - 1e-7);
    const logit = Math.log(inside / (1 - inside));
    return 1 / (1 + Math.exp(-(fitted.slope * logit + fitted.intercept)));
  }
  const { probability: xs, calibrated: ys } = fitted;
  if (prob <= xs[0]) return ys[0];
  const right = xs.findIndex((x) => x >= prob);
  if (right < 0) return ys[ys.length - 1];
  const share = (prob - xs[right - 1]) / (xs[right] - xs[right - 1]);
  return ys[right - 1] + share * (ys[right] - ys[right - 1]);
}

/** Tell whether a film reaches no threshold, of those that there are. */
export function isNoneAbove(settings, probs) {
  const decisions = settings.classes
    .map((name, c) => meaning(settings, name, probs[c]).isPositive)
    .filter((isPositive) => isPositive !== null);
  return decisions.length > 0 && decisions.every((isPositive) => !isPositive);
}

/**
 * Why a picture may be no film as the network knows them: {key, values} of words.js, or null. As
 * films/plausibility.py has it.
 */
export function doubt(thumbnail, { span, header }, check) {
  const found =
    (span && unusedRange(span)) || (header && headerDoubt(header, check)) || looks(thumbnail, check);
  return typeof found === "string" ? { key: found, values: {} } : found;
}

// Much of a range of values that nothing chose is not used.
function unusedRange([low, high, least, most]) {
  const bits = bitLength(most);
  const used = Math.max(bitLength(Math.trunc(high)), 1);
  if (least === 0 && most === 2 ** bits - 1 && low <= high / 2 && used < bits) {
    const values = { used, bits, high, center: 2 ** (used - 1), width: 2 ** used };
    return { key: "usesFewBits", values };
  }
  if (high - low >= (most - least) / 4) return null;
  const width = Math.max(high - low + 1, 1);
  const values = { low, high, least, most, center: (low + high + 1) / 2, width };
  return { key: "usesNarrowRange", values };
}

// A DICOM file says that it is no frontal chest film.
function headerDoubt({ view, alongRow, part, intent }, { parts }) {
  const isDecubitus = view.includes("DECUB"); // a frontal view of a patient who lies on a side
  const isLateral = ["LL", "RL"].includes(view) || (view.includes("LAT") && !isDecubitus);
  if (isLateral || /^[AP]/.test(alongRow)) return "headerLateral";
  if (intent === "FOR PROCESSING") return "headerRaw";
  if (part.includes("CHEST") || part.includes("THORAX")) return null;
  const other = parts.find((name) => part.includes(name.slice(0, 6)));
  return other ? { key: "headerPart", values: { part: other } } : null;
}

function looks(thumbnail, { weights, threshold, blank, dark }) {
  const pixels = Array.from(thumbnail);
  const mean = pixels.reduce((a, b) => a + b) / pixels.length;
  const deviation = Math.sqrt(pixels.reduce((a, b) => a + (b - mean) ** 2, 0) / pixels.length);
  if (deviation < blank) return "looksBlank";
  const scores = pixels.map((value, n) => ((value - mean) / deviation) * weights[n]);
  const score = scores.reduce((a, b) => a + b);
  if (score <= -threshold) return "looksInverted";
  if (Math.max(...pixels) < dark) return "looksDark";
  return score < threshold ? "looksOther" : null;
}
