// Fields of a form for options that are described by JSON Schema.

import { h, labelled } from "./dom.js";

/** @typedef {{name: string, element: HTMLElement, value: () => any}} Field `value` is undefined for the default */

/**
 * @param {{properties?: Record<string, any>, required?: string[]}} schema of an object
 * @returns {Field[]}
 */
export function fieldsOf(schema) {
  return Object.entries(schema.properties ?? {}).map(([name, property]) =>
    fieldOf(name, property, (schema.required ?? []).includes(name)),
  );
}

/** @param {string} name @param {any} property @param {boolean} required @returns {Field} */
function fieldOf(name, property, required) {
  const kind = KINDS[property.type] ?? KINDS.string;
  const control = kind.control(property, required);
  const about = [property.description, kind.about].filter(Boolean).join("; ");
  const element = h("div.field", {}, labelled(name.replaceAll("_", " "), control), about && h("span.about", {}, about));
  return { name, element, value: () => kind.value(control, name) };
}

/** @type {Record<string, {about: string, control: (property: any, required: boolean) => any, value: (control: any, name: string) => any}>} */
const KINDS = {
  string: {
    about: "",
    control: (property, required) => h("input", { type: "text", value: property.default ?? "", required }),
    value: (control) => control.value.trim(),
  },
  integer: {
    about: "",
    control: (property, required) =>
      h("input", {
        type: "number",
        min: property.minimum,
        max: property.maximum,
        value: property.default ?? "",
        required,
      }),
    value: (control) => (control.value === "" ? undefined : Number(control.value)),
  },
  boolean: {
    about: "",
    control: (property) => h("input", { type: "checkbox", checked: property.default === true }),
    value: (control) => control.checked,
  },
  array: {
    about: "one a line",
    control: (property, required) => h("textarea", { rows: 2, required }, (property.default ?? []).join("\n")),
    value: (control) => lines(control.value),
  },
  object: {
    about: "as JSON",
    control: (property) => h("textarea", { rows: 2 }, JSON.stringify(property.default ?? {})),
    value: (control, name) => jsonOf(control.value, name),
  },
};

/** @param {string} text @returns {string[]} */
const lines = (text) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

/** @param {string} text @param {string} name */
function jsonOf(text, name) {
  try {
    return text.trim() ? JSON.parse(text) : {};
  } catch (error) {
    throw new Error(`${name.replaceAll("_", " ")} is no JSON: ${error.message}`);
  }
}
