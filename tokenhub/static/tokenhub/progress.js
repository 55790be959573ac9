// Shows how far a bulk action is, until it is over: asks for that part of the page again and again.
const box = document.getElementById("progress");

async function look() {
    try {
        const answer = await fetch("?part", { headers: { Accept: "text/html" } });
        if (answer.ok && !answer.redirected) box.innerHTML = await answer.text();
    } catch {
        // The server does not answer just now: what is shown stays.
    }
    if (box.querySelector("[data-still-open]")) setTimeout(look, 1000);
    else document.querySelectorAll("[data-while-open]").forEach((button) => button.remove());
}

if (box?.dataset.open !== undefined) setTimeout(look, 700);
