// The answers of the API as the pages read them; the contract is /v1/openapi.json.

/** @typedef {{mean: number, low: number, high: number}} Interval */
/** @typedef {{name: string, available_tokens: number|null, prior: number|null, source: string, licence: string}} Domain */
/** @typedef {{name: string, unit: string, direction: "minimize"|"maximize", weight: number, family: string}} Target */
/**
 * @typedef {object} Study
 * @property {string} id
 * @property {string} name
 * @property {string} description
 * @property {{id: string, version: number, domains: Domain[]}} domain_set
 * @property {Target[]} targets
 * @property {{kl_to_prior: number}} objective
 * @property {{target_tokens: number|null, max_epochs: number|null, max_epochs_each: Object<string, number>}} constraints
 * @property {Record<string, number>} run_counts
 * @property {Budget} budget
 * @property {number} stranded_runs
 * @property {{corpus_hash: string, runs: number}[]} runs_without_agent
 * @property {string|null} adopted_recommendation_id
 * @property {"recommended"|"best_measured"|null} adopted_mixture
 * @property {string|null} adopted_reason
 * @property {string} created_at
 */
/**
 * @typedef {object} Budget
 * @property {number|null} flops
 * @property {number|null} gpu_hours
 * @property {number} spent_flops
 * @property {number} reserved_flops
 * @property {number} spent_gpu_hours
 * @property {number} reserved_gpu_hours
 * @property {number} spent_cpu_hours
 * @property {number} reserved_cpu_hours
 * @property {boolean} exhausted
 * @property {boolean} exhausted_on_cpu
 */
/** @typedef {{from_token: number, to_token: number, weights: Record<string, number>}} Stage */
/**
 * @typedef {object} Run
 * @property {string} id
 * @property {string} study_id
 * @property {string} label
 * @property {string} purpose
 * @property {string} state
 * @property {string} source
 * @property {"trained"|"merged"} fidelity
 * @property {boolean} exclude_from_fit
 * @property {Record<string, number>} weights
 * @property {Record<string, number>|null} realised_weights
 * @property {Stage[]|null} stages at least two, where the weights change on the way
 * @property {Stage[]|null} realised_stages
 * @property {number} seed
 * @property {number|null} model_params
 * @property {number|null} train_tokens
 * @property {number} attempt
 * @property {number} max_attempts
 * @property {number} progress_tokens
 * @property {Record<string, {value: number, stderr: number|null}>|null} losses
 * @property {Record<string, {value: number, stderr: number|null}>|null} bits_per_byte
 * @property {Record<string, {value: number, stderr: number|null}>|null} nats_per_token
 * @property {number|null} wall_seconds
 * @property {string|null} error
 * @property {string} created_at
 * @property {string|null} finished_at
 */
/** @typedef {"queued"|"running"|"succeeded"|"failed"|"cancelled"} JobState */
/** @typedef {{target: string, spearman: number|null, mae: number, r2: number|null}} TargetFidelity */
/**
 * @typedef {object} LawFidelity
 * @property {string} law
 * @property {string|null} skipped
 * @property {number|null} objective_spearman
 * @property {number|null} objective_mae
 * @property {number|null} objective_r2
 * @property {number|null} coverage90
 * @property {number|null} fit_seconds
 * @property {TargetFidelity[]} targets
 */
/**
 * @typedef {object} Fit
 * @property {string} id
 * @property {JobState} state
 * @property {number} progress
 * @property {string} message
 * @property {number} folds
 * @property {number} runs_used
 * @property {{used: number}|null} points null where each run counts by its end alone
 * @property {string|null} chosen_law
 * @property {string|null} reason
 * @property {LawFidelity[]} fidelity
 * @property {string|null} error
 * @property {string} created_at
 */
/**
 * @typedef {object} Recommendation
 * @property {string} id
 * @property {string} fit_id
 * @property {JobState} state
 * @property {number} progress
 * @property {string} progress_message
 * @property {string} law
 * @property {{minimise_worst: boolean, worst_by: string|null, worst_in_spreads: boolean, reference: string|null}} objective
 * @property {Weight[]} weights
 * @property {Record<string, {objective: Interval, targets: Record<string, Interval>}>} predictions
 * @property {string|null} solver_status
 * @property {string|null} message
 * @property {Details|null} details null until it has succeeded, and in lists
 * @property {Provenance|null} provenance
 * @property {string|null} error
 * @property {string} created_at
 */
/** @typedef {{domain: string, weight: number, low: number|null, high: number|null, held_by: string|null}} Weight */
/** @typedef {{objective: Interval, targets: Record<string, Interval>}} Gain */
/**
 * @typedef {object} Details
 * @property {Record<string, Gain>} gains
 * @property {string[]} outside
 * @property {Record<string, number>} target_weights
 * @property {{mixture: string, within_noise: boolean|null, runs: string[], weights: Record<string, number>}} offered
 * @property {object[]} constraints
 * @property {{words: string}[]} prices
 * @property {{margin: number, method: string}|null} sensitivity
 * @property {{objective: Interval}|null} unconstrained
 * @property {string[]} unseen_domains
 * @property {string[]} warnings
 */
/** @typedef {{runs: number, runs_hash: string, domain_set_version: number, seed: number, mixwright_version: string}} Provenance */
/** @typedef {{name: string, seeds_done: number, seeds_asked: number, mean: number|null, stderr: number|null, predicted: Interval|null}} Arm */
/** @typedef {{baseline: string, difference: number|null, low: number|null, high: number|null, verdict: string}} Contrast */
/** @typedef {{recommendation_id: string, done: boolean, arms: Arm[], contrasts: Contrast[]}} Verification */
/**
 * @template Item
 * @typedef {{items: Item[], next_cursor: string|null}} Page
 */
/**
 * What every section of the study page is given when something may have changed.
 * @typedef {object} Context
 * @property {Study} study
 * @property {Fit[]} fits newest first
 * @property {Fit|null} fit the one that is shown
 * @property {Recommendation[]} recommendations newest first
 * @property {Recommendation|null} recommendation the one that is shown
 * @property {Verification|null} verification of that recommendation
 */

export {};
