// Which view is shown: the address's fragment says it, "#/s/ID" a session, anything else the list.

import { key, takeKeyFromAddress } from "./api.js";
import { signIn } from "./signin.js";
import { sandboxList } from "./sandboxes.js";
import { session } from "./session.js";

const app = document.getElementById("app");
let leave = () => {};

function show() {
  leave();
  leave = () => {};
  app.replaceChildren();
  document.title = "ds-sandbox";
  const signOut = () => {
    key.forget();
    show();
  };
  if (!key.get()) {
    signIn(app, show);
    return;
  }
  const [, id] = /^#\/s\/([a-z0-9]{1,64})$/.exec(location.hash) ?? [];
  leave = id ? session(app, id, signOut) : sandboxList(app, signOut);
}

takeKeyFromAddress();
addEventListener("hashchange", () => {
  takeKeyFromAddress();
  show();
});
show();
