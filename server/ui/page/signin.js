import { key, sandboxes } from "./api.js";
import { h } from "./dom.js";

/** Asks for the key. */
export function signIn(app, done) {
  const field = h("input", { type: "password", id: "key", autocomplete: "current-password", required: true, autofocus: true, placeholder: "e2b_…" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const button = h("button", { class: "button primary" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    wrong.textContent = "";
    key.set(field.value.trim());
    try {
      await sandboxes.list();
      done();
    } catch (e) {
      key.forget();
      wrong.textContent = e.status === 401 ? "The daemon does not know this key." : e.message;
      field.select();
    }
    button.disabled = false;
  };
  app.append(h("main", { class: "signin" },
    h("h1", {}, h("img", { src: "/ui/icon.svg", alt: "", width: 28, height: 28 }), "ds-sandbox"),
    h("form", { onsubmit: submit }, h("label", { for: "key" }, "Key of the daemon"), field, button),
    wrong,
    h("p", { class: "soft" }, "ds-sandbox serve printed it, and an address that signs you in. It is kept in this tab only.")));
  field.focus();
}
