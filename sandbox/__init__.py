"""The stand-in for Microsoft's side: Entra's token endpoint, Dataverse's Web API, and CI-J's push API.

A separate program (`python -m sandbox --data DIR`) that knows the product only through the documented API: it shares no
code with it, so that the two cannot share a mistake. Sources are named by their file in Microsoft's documentation
repositories `MicrosoftDocs/customer-insights` (ci-docs/journeys) and `MicrosoftDocs/powerapps-docs`.
"""
