// When a pointer leaves what it points at. A finger leaves as soon as it is lifted, so what it touched stays shown until it touches
// something else.

let stays = null;

document.addEventListener("pointerdown", (e) => {
  if (!stays || stays.element.contains(e.target)) return;
  stays.hide();
  stays = null;
}, { capture: true });

/** Calls hide when nobody points at the element any more. */
export function onLeave(element, hide) {
  element.addEventListener("pointercancel", hide); // it scrolls
  element.addEventListener("pointerleave", (e) => {
    if (e.pointerType === "touch") stays = { element, hide };
    else hide();
  });
}
