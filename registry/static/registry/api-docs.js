"use strict";
// Outside of the page, so that the content security policy needs no exception for scripts.
const api = document.getElementById("api");
SwaggerUIBundle({
  domNode: api,
  url: api.dataset.openapi,
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  validatorUrl: null, // would send the document's address to a third party
  defaultModelsExpandDepth: 0,
});
