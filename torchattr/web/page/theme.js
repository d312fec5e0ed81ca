// Light or dark, remembered by the browser.

import { byId } from "./dom.js";

export function startTheme() {
  const button = byId("theme");
  const dark = () => document.documentElement.dataset.theme === "dark";
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = dark() ? "Light" : "Dark";
  };
  const saved = localStorage.getItem("torchattr-theme");
  apply(saved ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  button.addEventListener("click", () => {
    apply(dark() ? "light" : "dark");
    localStorage.setItem("torchattr-theme", document.documentElement.dataset.theme);
  });
}
